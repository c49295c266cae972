"""AdamW over fp32 parameters: the step of one flat array, and a torch.optim.Optimizer made of it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttrain.core import backend, check
from fasttrain.optim import adamw_ref

Floats = npt.NDArray[np.float32]


def adamw_(
    param: Floats,
    grad: Floats,
    m: Floats,
    v: Floats,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
    threads: int | None = None,
    impl: str | None = None,
) -> None:
    """Do one AdamW step in place.

    Args:
        param, m, v: (N,) float32, changed in place.
        grad: (N,) float32, read.
        step: 1 at the first step.
        grad_scale: multiplied into the gradient first: clipping coefficient over loss scale.
        threads: at most so many; backend.num_threads() when None. The result does not depend on it.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order, step or impl.
    Cost: reads 16 N bytes and writes 12 N, once.
    Source: Loshchilov & Hutter 2019.
    """
    op = "adamw"
    check.array(op, "param", param, np.float32, (None,))
    for name, array in (("grad", grad), ("m", m), ("v", v)):
        check.array(op, name, array, np.float32, param.shape)
    if step < 1:
        raise ValueError(f"{op}: step must be at least 1, got {step}")
    impl = backend.choose(op, impl)
    c = adamw_ref.coefficients(step, lr, betas, eps, weight_decay, grad_scale).astype(np.float32)
    if impl == "reference":
        adamw_ref.adamw(param, grad, m, v, c)
    else:
        backend.native(op)(param, grad, m, v, c, threads or backend.num_threads(), impl)


def adamw_cuda_(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
) -> None:
    """Do the same on the current stream of the tensors' device; all four float32, contiguous, on one CUDA device."""
    op = "adamw"
    for name, x in (("param", param), ("grad", grad), ("m", m), ("v", v)):
        if x.dtype != torch.float32 or not x.is_cuda or x.device != param.device:
            raise TypeError(f"{op}: {name} must be float32 on param's CUDA device, got {x.dtype} on {x.device}")
        if x.shape != param.shape or not x.is_contiguous():
            raise ValueError(f"{op}: {name} must be contiguous with shape {tuple(param.shape)}, got {tuple(x.shape)}")
    c = adamw_ref.coefficients(step, lr, betas, eps, weight_decay, grad_scale).astype(np.float32)
    with torch.cuda.device(param.device):
        stream = torch.cuda.current_stream().cuda_stream
        pointers = (x.data_ptr() for x in (param, grad, m, v))
        status = backend.native("adamw_cuda")(*pointers, param.numel(), c, stream)
    if status:
        raise RuntimeError(f"{op}: the CUDA kernel must launch, got cudaError {status}")


class AdamW(torch.optim.Optimizer):
    """AdamW on fp32 parameters with fp32 moments; clipping and loss scaling are folded into the step.

    `state[p]` holds `m`, `v` (shaped as p) and `step`; groups may set lr, betas, eps, weight_decay.
    Args:
        params: parameters or groups, as for torch.optim; fp32 and contiguous.
        impl: an implementation's name; the fastest that runs here when None.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        impl: str | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._impl = impl
        for group in self.param_groups:
            for p in group["params"]:
                if p.dtype != torch.float32 or not p.is_contiguous():
                    raise TypeError(
                        f"AdamW: parameters must be contiguous float32, got {p.dtype}, strides {p.stride()}; "
                        "keep fp32 parameters and compute in another type under autocast"
                    )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, grad_scale: float = 1.0
    ) -> float | None:
        """Update every parameter that has a gradient, which is first multiplied by `grad_scale` (and left as it is)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        threads = int(os.environ.get("FASTTRAIN_THREADS", 0)) or torch.get_num_threads()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["m"], state["v"], state["step"] = torch.zeros_like(p), torch.zeros_like(p), 0
                state["step"] += 1
                settings = {key: group[key] for key in ("lr", "betas", "eps", "weight_decay")}
                settings |= {"step": state["step"], "grad_scale": grad_scale}
                arrays = p, p.grad.contiguous(), state["m"], state["v"]  # an expanded gradient has stride 0
                if p.is_cuda:
                    adamw_cuda_(*arrays, **settings)
                else:
                    adamw_(*(_flat(x) for x in arrays), **settings, threads=threads, impl=self._impl)
        return loss


def _flat(x: Tensor) -> Floats:
    flat: Floats = x.detach().view(-1).numpy()
    return flat


def decay_groups(named: Iterable[tuple[str, Tensor]], weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices with `weight_decay`, vectors (norm weights) without."""
    pairs = list(named)
    return [
        {"params": [p for _, p in pairs if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for _, p in pairs if p.ndim < 2], "weight_decay": 0.0},
    ]
