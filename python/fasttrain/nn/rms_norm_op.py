"""Native RMSNorm as torch operators with fake kernels and gradients, so that torch.compile sees through them.

x (N,C), fp32 or bf16; residual (N,C) of the stream's dtype; weight (C,) fp32: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn.arrays import array


def norm(x: Tensor, weight: Tensor, eps: float, impl: str) -> Tensor:
    """Return y (..., C) of x (..., C): the operator's answer without rstd."""
    y = pages.empty_like(x)
    _forward(x, None, weight, None, y, None, eps, impl)
    return y


def norm_residual(x: Tensor, residual: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    """Return (y, r) of x and residual (..., C): the operator's answer without rstd."""
    y, r = pages.empty_like(residual), pages.empty_like(residual)
    _forward(x, residual, weight, r, y, None, eps, impl)
    return y, r


@operator("fasttrain::rms_norm")
def rms_norm_op(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    """Return (y (N,C), rstd (N,))."""
    y, rstd = _like_norm(x)
    _forward(x.contiguous(), None, weight.contiguous(), None, y, rstd, eps, impl)
    return y, rstd


@operator("fasttrain::rms_norm_residual")
def rms_norm_residual_op(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (y (N,C), r (N,C), rstd (N,)), r = x + residual."""
    (y, rstd), r = _like_norm(residual), pages.new_empty(residual, residual.shape)
    _forward(x.contiguous(), residual.contiguous(), weight.contiguous(), r, y, rstd, eps, impl)
    return y, r, rstd


@operator("fasttrain::rms_norm_backward")
def rms_norm_backward_op(
    dy: Tensor, dr: Tensor | None, r: Tensor, weight: Tensor, rstd: Tensor, x_dtype: torch.dtype, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (dresidual, dx, dweight); dx is empty where it would equal dresidual, which has its dtype."""
    dresidual, dx, dweight = gradients = _like_backward(r, weight, x_dtype)
    parts = r.new_empty(backend.native("rms_norm_parts")(*r.shape), dtype=torch.float32)
    backend.native("rms_norm_backward")(
        array(dy.contiguous()),
        None if dr is None else array(dr.contiguous()),
        *(array(x) for x in (r, weight, rstd, dresidual)),
        array(dx) if x_dtype != r.dtype else None,
        array(dweight),
        array(parts),
        torch.get_num_threads(),
        impl,
    )
    return gradients


def _forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    r: Tensor | None,
    y: Tensor,
    rstd: Tensor | None,
    eps: float,
    impl: str,
) -> None:
    addresses = [0 if t is None else t.data_ptr() for t in (x, residual, weight, r, y, rstd)]
    C = weight.numel()
    sizes = y.numel() // max(C, 1), C
    dtypes = x.dtype is torch.bfloat16, y.dtype is torch.bfloat16
    backend.native("rms_norm")(*addresses, *sizes, *dtypes, eps, torch.get_num_threads(), impl)


def _like_norm(stream: Tensor) -> tuple[Tensor, Tensor]:
    return pages.new_empty(stream, stream.shape), stream.new_empty(stream.shape[0], dtype=torch.float32)


def _like_backward(r: Tensor, weight: Tensor, x_dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    dx = pages.new_empty(r, r.shape if x_dtype != r.dtype else (0,), dtype=x_dtype)
    return pages.new_empty(r, r.shape), dx, pages.new_empty(weight, weight.shape)


@rms_norm_op.register_fake
def _(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    return _like_norm(x)


@rms_norm_residual_op.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor, Tensor]:
    y, rstd = _like_norm(residual)
    return y, pages.new_empty(residual, residual.shape), rstd


@rms_norm_backward_op.register_fake
def _(
    dy: Tensor, dr: Tensor | None, r: Tensor, weight: Tensor, rstd: Tensor, x_dtype: torch.dtype, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    return _like_backward(r, weight, x_dtype)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, _, ctx.impl = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, dy: Tensor, _drstd: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, rstd = ctx.saved_tensors
    dx, _, dweight = rms_norm_backward_op(dy, None, x, weight, rstd, x.dtype, ctx.impl)
    return dx, dweight, None, None


def _setup_residual(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, _, weight, _, ctx.impl = inputs
    ctx.x_dtype = x.dtype
    ctx.save_for_backward(output[1], weight, output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)  # no pass over zeros where r leads nowhere


def _backward_residual(
    ctx: Any, dy: Tensor | None, dr: Tensor | None, _drstd: Tensor | None
) -> tuple[Tensor | None, ...]:
    r, weight, rstd = ctx.saved_tensors
    if dy is None:
        return None if dr is None else dr.to(ctx.x_dtype), dr, None, None, None
    dresidual, dx, dweight = rms_norm_backward_op(dy, dr, r, weight, rstd, ctx.x_dtype, ctx.impl)
    return dresidual if ctx.x_dtype == r.dtype else dx, dresidual, dweight, None, None


rms_norm_op.register_autograd(_backward, setup_context=_setup)
rms_norm_residual_op.register_autograd(_backward_residual, setup_context=_setup_residual)
rms_norm_backward_op.refuse_autograd()
