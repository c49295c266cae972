"""Muon: momentum whose update is made orthogonal by Newton-Schulz, for matrices; everything else is AdamW's.

Source: Jordan 2024 (kellerjordan.github.io/posts/muon); scale and decay of Moonlight, arXiv:2502.16982, with which
learning rates and weight decay of AdamW carry over.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttrain.core import backend, check, cuda
from fasttrain.core.precision import Precision
from fasttrain.optim import adamw_ref, muon_ref
from fasttrain.optim.adamw_cuda import clip_cuda
from fasttrain.optim.clip import global_norm, torch_threads
from fasttrain.optim.groups import add_param_group
from fasttrain.optim.muon_cuda import muon_step_cuda_
from fasttrain.optim.muon_ref import EPS, STEPS, A, B, C, scale
from fasttrain.optim.stochastic import check_alone, check_place, flat, gradient

Floats = npt.NDArray[np.float32]


def muon_momentum_(
    grad: Floats,
    m: Floats,
    *,
    momentum: float,
    grad_scale: float = 1.0,
    threads: int | None = None,
    impl: str | None = None,
) -> None:
    """Add a gradient to its running mean and put what Muon makes orthogonal in the gradient's place, in one pass.

    With g = grad_scale grad: m += (g - m) (1 - momentum), grad = m + (g - m) (1 - momentum), Nesterov's momentum.
    Args:
        grad, m: (N,) float32, changed in place.
        threads: at most so many; backend.num_threads() when None. The result does not depend on it.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order or impl.
    Cost: reads 8 N bytes and writes 8 N, once.
    """
    op = "muon"
    check.array(op, "grad", grad, np.float32, (None,))
    check.array(op, "m", m, np.float32, grad.shape)
    impl = backend.choose(op, impl)
    if impl == "reference":
        muon_ref.nesterov(grad, m, one_minus_momentum=1.0 - momentum, grad_scale=grad_scale)
        return
    backend.native("muon_momentum")(grad, m, grad_scale, 1.0 - momentum, threads or backend.num_threads(), impl)


def muon_step_(
    param: npt.NDArray[Any],
    update: npt.NDArray[Any],
    *,
    keep: float,
    rate: float,
    step: int = 1,
    seed: int = 0,
    stream: int = 0,
    offset: int = 0,
    width: int = 0,
    pitch: int = 0,
    threads: int | None = None,
    impl: str | None = None,
) -> None:
    """Do param = param keep - update rate in place, in one pass over memory.

    Args:
        param: (N,) float32, or bf16 as its bits in uint16, which is rounded stochastically as by `adamw_`.
        update: (N,) float32 or bf16 as uint16.
        keep, rate: 1 - lr weight_decay and lr scale(shape of the whole matrix).
        step, seed, stream, offset, width, pitch, threads: as `adamw_` takes them.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order, step, stream, offset or impl.
    Cost: reads 8 N bytes and writes 4 N, once; bf16 halves param's and update's.
    """
    op = "muon"
    param_half, update_half = (getattr(x, "dtype", None) == np.uint16 for x in (param, update))
    check.array(op, "param", param, np.uint16 if param_half else np.float32, (None,))
    check.array(op, "update", update, np.uint16 if update_half else np.float32, param.shape)
    check_place(op, len(param), step=step, stream=stream, offset=offset, width=width, pitch=pitch)
    impl = backend.choose(op, impl)
    seed &= 0xFFFFFFFFFFFFFFFF
    if impl != "reference":
        place = seed, step, stream, offset, width, pitch, threads or backend.num_threads(), impl
        backend.native("muon_step")(param, update, keep, rate, *place)
        return
    exact = adamw_ref.widen(param) if param_half else param
    muon_ref.step(exact, adamw_ref.widen(update) if update_half else update, keep=keep, rate=rate)
    if param_half:
        random = adamw_ref.random_halves(len(param), offset, seed, step, stream, width, pitch)
        param[...] = adamw_ref.stochastic(exact, random)


def muon_dtype(precision: Precision) -> torch.dtype:
    """What a run multiplies its updates in: bf16 is enough (Jordan 2024), also where the model's products are fp16."""
    return torch.float32 if precision == "fp32" else torch.bfloat16


@torch.no_grad()
def orthogonalize(x: Tensor, *, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return the singular vectors of x (n, m) with singular values between about 0.7 and 1.2, where they were not tiny.

    Newton-Schulz, five steps of a quintic: no decomposition, only matrix products, in `dtype`, each of the 15 of at
    most n m min(n, m) multiply-adds. A matrix of zeros stays one.
    """
    is_tall = x.shape[0] > x.shape[1]
    y: Tensor = (x / _norm(x)).to(dtype)
    y = y.mT.contiguous() if is_tall else y  # the smaller of the two Gram matrices
    for _ in range(STEPS):
        gram = y @ y.mT
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=B, alpha=C), y, beta=A)
    return y.mT if is_tall else y


def _norm(x: Tensor) -> float | Tensor:
    """At least EPS; a norm whose bits do not depend on threads. On a card it stays there, and nobody waits for it."""
    if cuda.is_built(x) and x.numel():
        return clip_cuda(x.float().contiguous().view(-1), 0.0)[0].clamp(min=EPS)
    return max(global_norm([x]), EPS)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled decay; its state is named as torch.optim.Muon's.

    The update of a matrix (n, m) is 0.2 sqrt(max(n, m)) times an orthogonal one: the root mean square of AdamW's.
    Give embeddings, output matrices and vectors to AdamW.
    Args:
        params: parameters or groups, as for torch.optim; fp32, or bf16, which is rounded stochastically, by
            draws of `seed`, the step and the parameter's place alone. Groups may set lr, momentum, weight_decay; and
            as AdamW's `place` and `grad`, and `shape`, of the matrix of which their one parameter is a part.
        dtype: of the matrix products; bf16 is enough (Jordan 2024).
        impl: an implementation's name; the fastest that runs here when None.
    Raises: ValueError: a parameter that is no matrix, a rate out of range. TypeError: parameters of another dtype.
    """

    _takes_grads = False
    """Whether a gradient's memory is used up by a step that does not set it to 0 either."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        *,
        dtype: torch.dtype = torch.bfloat16,
        seed: int = 0,
        impl: str | None = None,
    ) -> None:
        if not (lr >= 0.0 and weight_decay >= 0.0 and 0.0 <= momentum < 1.0):
            raise ValueError(
                "Muon: lr and weight_decay must be at least 0 and momentum lie in [0, 1), "
                f"got {lr}, {weight_decay} and {momentum}"
            )
        self._dtype, self._seed, self._impl = dtype, seed, impl
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does, after a look at its parameters."""
        add_param_group(self, param_group)
        check_alone("Muon", self.param_groups[-1])
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                raise ValueError(f"Muon: parameters must be matrices, got shape {tuple(p.shape)}; give it to AdamW")
            if p.dtype not in (torch.float32, torch.bfloat16) or not p.is_contiguous():
                raise TypeError(
                    f"Muon: parameters must be contiguous float32 or bfloat16, got {p.dtype}, strides {p.stride()}"
                )
            if p.dtype == torch.bfloat16 and p.device.type != "cpu" and not cuda.is_built(p):
                raise TypeError(
                    f"Muon: bf16 parameters on {p.device} need this project's kernels; keep fp32 ones there"
                )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, grad_scale: float = 1.0, zero_grad: bool = False
    ) -> float | None:
        """Update every matrix that has a gradient, first multiplied by `grad_scale`, and set to 0 with `zero_grad`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        all_ = [(group, p) for group in self.param_groups for p in group["params"]]
        for i, update in self.updates(self._means(all_, grad_scale, zero_grad)):
            group, p = all_[i]
            lr = float(group["lr"])
            keep, rate = 1.0 - lr * group["weight_decay"], lr * scale(group.get("shape", p.shape))
            place = {"step": self.state[p]["step"], "seed": self._seed} | (group.get("place") or {"stream": i})
            if p.device.type == "cpu":
                arrays = flat(p), flat(update.contiguous())
                muon_step_(*arrays, keep=keep, rate=rate, **place, threads=torch_threads(), impl=self._impl)
            elif cuda.is_built(p):
                muon_step_cuda_(p, update.contiguous(), keep=keep, rate=rate, **place)
            else:
                p.mul_(keep).sub_(update.float() * rate)
            if zero_grad:
                grad = gradient(group, p)
                assert grad is not None
                if grad.is_contiguous():
                    grad.zero_()
                else:  # an expanded gradient, of stride 0
                    p.grad = torch.zeros_like(p)
        return loss

    def updates(self, means: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor]]:
        """From (index of a parameter, its gradient with momentum) make (index, orthogonal update), one at a time."""
        for i, mean in means:
            yield i, orthogonalize(mean, dtype=self._dtype)

    def _means(
        self, all_: list[tuple[dict[str, Any], Tensor]], grad_scale: float, zero_grad: bool
    ) -> Iterator[tuple[int, Tensor]]:
        """With `zero_grad` in the gradient's memory."""
        for i, (group, p) in enumerate(all_):
            grad = gradient(group, p)
            if grad is None:
                continue
            state = self.state[p]
            if not state:
                state["momentum_buffer"], state["step"] = torch.zeros_like(p, dtype=torch.float32), 0
            state["step"] += 1
            mean, buffer, momentum = grad, state["momentum_buffer"], group["momentum"]
            is_free = zero_grad or self._takes_grads
            if not (is_free and grad.dtype == torch.float32 and grad.is_contiguous()):
                mean = torch.empty_like(buffer).copy_(grad)
            if p.device.type == "cpu":
                keys = {"momentum": momentum, "grad_scale": grad_scale, "threads": torch_threads()}
                muon_momentum_(flat(mean), flat(buffer), **keys, impl=self._impl)
            else:
                g = mean * grad_scale
                buffer.add_((g - buffer) * (1.0 - momentum))
                torch.add(buffer, (g - buffer) * (1.0 - momentum), out=mean)
            yield i, mean

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, as torch does; momentum stays in fp32."""
        super().load_state_dict(state_dict)
        ids = [i for group in state_dict["param_groups"] for i in group["params"]]
        for i, p in zip(ids, (p for group in self.param_groups for p in group["params"])):
            buffer = state_dict["state"].get(i, {}).get("momentum_buffer")
            if buffer is not None:  # torch casts it to the dtype of its parameter
                self.state[p]["momentum_buffer"] = buffer.to(p.device, torch.float32, copy=True).contiguous()
