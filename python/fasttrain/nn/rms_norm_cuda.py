"""RMSNorm on a card as torch operators with fake kernels and gradients, so that torch.compile sees through them.

Contiguous x (N,C), fp32 or bf16; residual (N,C) of the stream's dtype; weight (C,) fp32; y of the stream's dtype, or
bf16 beside a stream in fp32: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator

_MAX_C = 8192  # csrc/nn/rms_norm_cuda.h


def takes(x: Tensor) -> bool:
    """Whether the kernels take rows of this width."""
    C = x.shape[-1]
    return cuda.is_built(x) and 0 < C <= _MAX_C and C % 8 == 0


@operator("fasttrain::rms_norm_cuda", "cuda")
def rms_norm_op(x: Tensor, weight: Tensor, eps: float, y_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (y (N,C), rstd (N,))."""
    y, rstd = _like_norm(x, y_dtype)
    x, weight = cuda.aligned(x), cuda.aligned(weight)
    _launch([x, None, weight, None, y, rstd, *[None] * 6], eps, (x.dtype, x.dtype, y_dtype), backward=False)
    return y, rstd


@operator("fasttrain::rms_norm_residual_cuda", "cuda")
def rms_norm_residual_op(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, y_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (y (N,C), r (N,C), rstd (N,)), r = x + residual."""
    (y, rstd), r = _like_norm(residual, y_dtype), residual.new_empty(residual.shape)
    x, residual, weight = (cuda.aligned(t) for t in (x, residual, weight))
    _launch([x, residual, weight, r, y, rstd, *[None] * 6], eps, (x.dtype, r.dtype, y_dtype), backward=False)
    return y, r, rstd


@operator("fasttrain::rms_norm_backward_cuda", "cuda")
def rms_norm_backward_op(
    dy: Tensor, dr: Tensor | None, r: Tensor, weight: Tensor, rstd: Tensor, x_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (dresidual, dx, dweight); dx is empty where it would equal dresidual, which has its dtype."""
    dresidual, dx, dweight = gradients = _like_backward(r, weight, x_dtype)
    if not r.numel():
        dweight.zero_()
        return gradients
    parts = rstd.new_empty((backend.constant("rms_norm_cuda_parts"), r.shape[1]))
    dx_or_none = dx if x_dtype != r.dtype else None
    dr = None if dr is None else cuda.aligned(dr)
    r, weight = cuda.aligned(r), cuda.aligned(weight)
    tensors = [None, None, weight, r, None, rstd, cuda.aligned(dy), dr, dresidual, dx_or_none, dweight, parts]
    _launch(tensors, 0.0, (x_dtype, r.dtype, dy.dtype), backward=True)
    return gradients


def _launch(
    tensors: list[Tensor | None], eps: float, dtypes: tuple[torch.dtype, torch.dtype, torch.dtype], *, backward: bool
) -> None:
    rows = tensors[3] if backward else tensors[0]
    assert rows is not None
    addresses, sizes = cuda.pointers(tensors), list(rows.shape)
    halves, native = [dtype == torch.bfloat16 for dtype in dtypes], backend.native("rms_norm_cuda")
    cuda.launch("rms_norm", rows.device, lambda stream: native(addresses, sizes, eps, *halves, backward, stream))


def _like_norm(stream: Tensor, y_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return stream.new_empty(stream.shape, dtype=y_dtype), stream.new_empty(stream.shape[0], dtype=torch.float32)


def _like_backward(r: Tensor, weight: Tensor, x_dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    dx = r.new_empty(r.shape if x_dtype != r.dtype else (0,), dtype=x_dtype)
    return r.new_empty(r.shape), dx, weight.new_empty(weight.shape)


@rms_norm_op.register_fake
def _(x: Tensor, weight: Tensor, eps: float, y_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return _like_norm(x, y_dtype)


@rms_norm_residual_op.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float, y_dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    y, rstd = _like_norm(residual, y_dtype)
    return y, residual.new_empty(residual.shape), rstd


@rms_norm_backward_op.register_fake
def _(
    dy: Tensor, dr: Tensor | None, r: Tensor, weight: Tensor, rstd: Tensor, x_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    return _like_backward(r, weight, x_dtype)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, *_ = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, dy: Tensor, _drstd: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, rstd = ctx.saved_tensors
    dx, _, dweight = rms_norm_backward_op(dy, None, x, weight, rstd, x.dtype)
    return dx, dweight, None, None


def _setup_residual(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, _, weight, *_ = inputs
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
    dresidual, dx, dweight = rms_norm_backward_op(dy, dr, r, weight, rstd, ctx.x_dtype)
    return dresidual if ctx.x_dtype == r.dtype else dx, dresidual, dweight, None, None


rms_norm_op.register_autograd(_backward, setup_context=_setup)
rms_norm_residual_op.register_autograd(_backward_residual, setup_context=_setup_residual)
rms_norm_backward_op.refuse_autograd()
