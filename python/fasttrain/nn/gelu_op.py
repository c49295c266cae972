"""Native GELU as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

x: contiguous, fp32 or bf16: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator


def forward(x: Tensor, impl: str) -> Tensor:
    """Return gelu(x)."""
    x = x.contiguous()
    out = pages.empty_like(x)
    is_bf16, threads = x.dtype is torch.bfloat16, torch.get_num_threads()
    backend.native("gelu")(x.data_ptr(), out.data_ptr(), x.numel(), is_bf16, threads, impl)
    return out


gelu_op = operator("fasttrain::gelu")(forward)


@gelu_op.register_fake
def _(x: Tensor, impl: str) -> Tensor:
    return pages.new_empty(x, x.shape)


@operator("fasttrain::gelu_backward")
def gelu_backward_op(dout: Tensor, x: Tensor, impl: str) -> Tensor:
    """Return dx."""
    dout, x = dout.contiguous(), x.contiguous()  # a gradient may come with any strides
    dx = pages.empty_like(x)
    addresses = dout.data_ptr(), x.data_ptr(), dx.data_ptr()
    is_bf16, threads = x.dtype is torch.bfloat16, torch.get_num_threads()
    backend.native("gelu_backward")(*addresses, x.numel(), is_bf16, threads, impl)
    return dx


@gelu_backward_op.register_fake
def _(dout: Tensor, x: Tensor, impl: str) -> Tensor:
    return pages.new_empty(x, x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.impl = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return gelu_backward_op(dout, x, ctx.impl), None


gelu_op.register_autograd(_backward, setup_context=_setup)
gelu_backward_op.refuse_autograd()
