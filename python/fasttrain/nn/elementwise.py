"""torch's GELU and sum of two streams, with outputs where large tensors belong (core/pages.py)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import pages


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        out: Tensor = torch.ops.aten.gelu.out(x, approximate="tanh", out=pages.new_empty(x, x.shape))
        return out

    @staticmethod
    def backward(ctx: Any, *dout: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx: Tensor = torch.ops.aten.gelu_backward.grad_input(
            dout[0], x, approximate="tanh", grad_input=pages.new_empty(x, x.shape)
        )
        return dx


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.dtypes = x.dtype, y.dtype
        out = pages.new_empty(x, x.shape, torch.promote_types(x.dtype, y.dtype))
        return out.copy_(y).add_(x)  # torch.add would make a copy of y in fp32 first

    @staticmethod
    def backward(ctx: Any, *dout: Tensor) -> tuple[Tensor, ...]:
        return tuple(cast(dout[0], dtype) for dtype in ctx.dtypes)


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in another dtype; no gradient."""
    return x if x.dtype == dtype else pages.new_empty(x, x.shape, dtype).copy_(x)


def gelu(x: Tensor) -> Tensor:
    """GELU by its tanh formula (Hendrycks & Gimpel 2016), as GPT-2 has it; of both only x is kept for backward."""
    if torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    y: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return y


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y of one shape."""
    if torch.compiler.is_compiling():
        return x + y
    z: Tensor = _Add.apply(x, y)  # type: ignore[no-untyped-call]
    return z
