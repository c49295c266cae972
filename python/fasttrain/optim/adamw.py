"""AdamW: the step of one flat array, and a torch.optim.Optimizer made of it."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttrain.core import backend, check, cuda
from fasttrain.optim import adamw_ref
from fasttrain.optim.adamw_cuda import Arrays, adamw_cuda_, adamw_pieces_cuda_
from fasttrain.optim.adamw_torch import adamw_torch_
from fasttrain.optim.clip import clip_coefficient, global_norm, torch_threads
from fasttrain.optim.groups import add_param_group
from fasttrain.optim.stochastic import check_alone, check_place, flat, gradient

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]  # bf16, which numpy does not have


def adamw_(
    param: npt.NDArray[Any],
    grad: npt.NDArray[Any],
    m: Floats,
    v: Floats,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    grad_scale: float = 1.0,
    copy: Halves | None = None,
    zero_grad: bool = False,
    seed: int = 0,
    stream: int = 0,
    offset: int = 0,
    width: int = 0,
    pitch: int = 0,
    threads: int | None = None,
    impl: str | None = None,
) -> None:
    """Do one AdamW step in place, in one pass over memory.

    Args:
        param: (N,) float32, or bf16 as its bits in uint16; changed in place. bf16 is rounded stochastically, up with
            the probability of what is cut off, so that steps far below its precision add up.
        grad: (N,) float32 or uint16, read; set to 0 afterwards with `zero_grad`.
        m, v: (N,) float32, changed in place.
        step: 1 at the first step.
        grad_scale: multiplied into the gradient first: clipping coefficient over loss scale.
        copy: (N,) uint16, filled with float32 parameters in bf16, to nearest.
        seed, stream, offset: of stochastic rounding, beside the step: drawn from (seed, step, stream, offset + i) for
            value i, so that an array gives the same bits in any number of parts. `stream` tells arrays apart.
        width, pitch: of an array that is `width` columns of a matrix of `pitch`, row by row: value i is drawn as
            offset + i // width * pitch + i % width, its place in the matrix; width 0: as offset + i.
        threads: at most so many; backend.num_threads() when None. The result does not depend on it.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order, step, stream, offset or impl.
    Cost: reads 16 N bytes and writes 12 N, once; a copy 2 N more, zeros 4 N more; bf16 halves param's and grad's.
    Source: Loshchilov & Hutter 2019.
    """
    op = "adamw"
    param_half, grad_half = (getattr(x, "dtype", None) == np.uint16 for x in (param, grad))
    check.array(op, "param", param, np.uint16 if param_half else np.float32, (None,))
    check.array(op, "grad", grad, np.uint16 if grad_half else np.float32, param.shape)
    for name, array in (("m", m), ("v", v)):
        check.array(op, name, array, np.float32, param.shape)
    if copy is not None:
        check.array(op, "copy", copy, np.uint16, param.shape)
        if param_half:
            raise ValueError(f"{op}: copy must be None where param is bf16, which needs none")
    check_place(op, len(param), step=step, stream=stream, offset=offset, width=width, pitch=pitch)
    impl = backend.choose(op, impl)
    c = adamw_ref.coefficients(step, lr, betas, eps, weight_decay, grad_scale).astype(np.float32)
    seed &= 0xFFFFFFFFFFFFFFFF
    if impl != "reference":
        place = seed, step, stream, offset, width, pitch, threads or backend.num_threads(), impl
        backend.native(op)(param, grad, m, v, copy, c, zero_grad, *place)
        return
    exact = adamw_ref.widen(param) if param_half else param
    adamw_ref.adamw(exact, adamw_ref.widen(grad) if grad_half else grad, m, v, c)
    if param_half:
        random = adamw_ref.random_halves(len(param), offset, seed, step, stream, width, pitch)
        param[...] = adamw_ref.stochastic(exact, random)
    if copy is not None:
        copy[...] = adamw_ref.nearest(exact)
    if zero_grad:
        grad[...] = 0


class AdamW(torch.optim.Optimizer):
    """AdamW with fp32 moments whose step is one pass over memory: clipping, loss scale, bf16 copy and zeroing included.

    Its state has the names of torch.optim.AdamW (`step`, `exp_avg`, `exp_avg_sq`), and either loads the other's
    state_dict; schedulers of torch work on it. bf16 parameters also have `master`, their fp32 form, unless they are
    rounded stochastically.
    Args:
        params: parameters or groups, as for torch.optim; fp32 or bf16, contiguous. Groups may set lr, betas, eps,
            weight_decay.
        clip_norm: largest Euclidean norm of all gradients together; larger ones are scaled down to it; 0: no clipping.
            `grad_norm` is what it was at the last step.
        bf16: how bf16 parameters are kept: beside an fp32 "master" (4 bytes each more), or alone, by "stochastic"
            rounding, whose draws depend on `seed`, the step and the parameter's place alone. A group may say
            that place itself, `place`, a dict of stream, offset, width and pitch as `adamw_` takes them, and `grad`,
            fp32, in the place of its parameter's, which torch wants in bf16; it must hold one parameter then.
        impl: an implementation's name; the fastest that runs here when None.
    Raises: ValueError: a negative rate. TypeError: parameters of another dtype.
    """

    grad_norm: float | None = None

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float = 0.0,
        bf16: Literal["master", "stochastic"] = "master",
        seed: int = 0,
        impl: str | None = None,
    ) -> None:
        numbers = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "clip_norm": clip_norm}
        for name, value in numbers.items():
            if not value >= 0.0:
                raise ValueError(f"AdamW: {name} must be at least 0, got {value}")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"AdamW: betas must lie in [0, 1), got {betas}")
        if bf16 not in ("master", "stochastic"):
            raise ValueError(f"AdamW: bf16 must be 'master' or 'stochastic', got {bf16!r}")
        self._clip_norm, self._is_stochastic, self._seed, self._impl = clip_norm, bf16 == "stochastic", seed, impl
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does, after a look at its parameters."""
        add_param_group(self, param_group)
        check_alone("AdamW", self.param_groups[-1])
        for p in self.param_groups[-1]["params"]:
            if p.dtype not in (torch.float32, torch.bfloat16) or not p.is_contiguous():
                raise TypeError(
                    f"AdamW: parameters must be contiguous float32 or bfloat16, got {p.dtype}, strides {p.stride()}; "
                    "keep fp32 parameters and compute in another type under autocast"
                )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, grad_scale: float = 1.0, zero_grad: bool = False
    ) -> float | None:
        """Update every parameter that has a gradient, which is first multiplied by `grad_scale`.

        Args:
            grad_scale: 1 over the loss scale, say; clipping sees the scaled gradient.
            zero_grad: whether gradients are set to 0 in the same pass; else they are left as they are.
        Raises: RuntimeError: clipping finds a norm that is not finite; nothing is updated then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._clip_norm:
            grads = (gradient(group, p) for group in self.param_groups for p in group["params"])
            self.grad_norm = abs(grad_scale) * global_norm(g for g in grads if g is not None)
            if not math.isfinite(self.grad_norm):
                raise RuntimeError(f"AdamW: the gradient's norm must be finite, got {self.grad_norm}; skip this batch")
            grad_scale *= clip_coefficient(self.grad_norm, self._clip_norm)
        stream = -1
        on_cards: dict[torch.device, list[tuple[Arrays, dict[str, Any]]]] = {}
        for group in self.param_groups:
            settings = {key: group[key] for key in ("betas", "eps", "weight_decay")} | {"lr": float(group["lr"])}
            for p in group["params"]:
                stream += 1
                given = gradient(group, p)
                if given is None:
                    continue
                state = self._state_of(p)
                state["step"] += 1
                settings |= {"step": int(state["step"]), "grad_scale": grad_scale}
                grad = given.contiguous()  # an expanded gradient has stride 0
                place = group.get("place") or {"stream": stream}
                if p.is_cuda:
                    piece = self._step_cuda(p, grad, state, settings, place, zero_grad)
                    if piece is not None:
                        on_cards.setdefault(p.device, []).append((piece, dict(settings)))
                else:
                    half = p if "master" in state else None
                    arrays = (state.get("master", p), grad, state["exp_avg"], state["exp_avg_sq"])
                    adamw_(
                        *(flat(x) for x in arrays),
                        **settings | place,
                        copy=None if half is None else flat(half),
                        zero_grad=zero_grad and grad is given,
                        seed=self._seed,
                        threads=torch_threads(),
                        impl=self._impl,
                    )
                if zero_grad and grad is not given:
                    p.grad = torch.zeros_like(p)
        for pieces in on_cards.values():
            adamw_pieces_cuda_(pieces, zero_grad=zero_grad)
        return loss

    def _step_cuda(
        self,
        p: Tensor,
        grad: Tensor,
        state: dict[str, Any],
        settings: dict[str, Any],
        place: dict[str, int],
        zero_grad: bool,
    ) -> Arrays | None:
        """Update a parameter that goes alone (stochastic rounding, no kernels); return the arrays of any other."""
        exact, wide = state.get("master", p), grad.float()
        arrays = exact, wide, state["exp_avg"], state["exp_avg_sq"]
        is_built, copy = cuda.is_built(p), None if exact is p else p
        is_alone = not is_built or exact.dtype == torch.bfloat16
        if is_alone:
            run = adamw_cuda_ if is_built else adamw_torch_
            run(*arrays, **settings | place | {"seed": self._seed}, copy=copy, zero_grad=zero_grad)
        if zero_grad and wide is not grad:
            grad.zero_()
        return None if is_alone else (*arrays, copy)

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)  # a tensor, as torch's own
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(p, dtype=torch.float32) for _ in range(2))
            if p.dtype == torch.bfloat16 and not self._is_stochastic:
                state["master"] = p.float()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, of torch's AdamW too. Raises ValueError: one of AMSGrad or of a maximizing optimizer."""
        for group in state_dict["param_groups"]:
            if group.get("amsgrad") or group.get("maximize"):
                raise ValueError("AdamW: amsgrad and maximize must be off in the state that is loaded")
        super().load_state_dict(state_dict)
        ids = [i for group in state_dict["param_groups"] for i in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(ids, parameters):
            for name, value in state_dict["state"].get(i, {}).items():
                if name in ("exp_avg", "exp_avg_sq", "master"):  # torch casts them to the dtype of their parameter
                    self.state[p][name] = value.to(p.device, torch.float32, copy=True).view(p.shape)
            if self.state.get(p) and p.dtype == torch.bfloat16 and not self._is_stochastic:
                self.state[p].setdefault("master", p.detach().float())


def decay_groups(named: Iterable[tuple[str, Tensor]], weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices with `weight_decay`, vectors (norm weights) without."""
    pairs = list(named)
    return [
        {"params": [p for _, p in pairs if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for _, p in pairs if p.ndim < 2], "weight_decay": 0.0},
    ]
