"""Native RoPE as a torch operator with a fake kernel and a gradient, so that torch.compile sees through it.

x (B,T,H,D) fp32 or bf16; cos and sin (B or 1, T, 1, D) fp32: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator


def forward(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool, impl: str) -> Tensor:
    """Return x turned by the angles of the tables, or back by them."""
    x, cos, sin = x.contiguous(), cos.contiguous(), sin.contiguous()  # a gradient may come with any strides
    out = pages.empty_like(x)
    addresses = x.data_ptr(), cos.data_ptr(), sin.data_ptr(), out.data_ptr()
    is_bf16, threads = x.dtype is torch.bfloat16, torch.get_num_threads()
    backend.native("rope")(*addresses, x.shape, len(cos), is_bf16, inverse, threads, impl)
    return out


rope_op = operator("fasttrain::rope")(forward)


@rope_op.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool, impl: str) -> Tensor:
    return pages.new_empty(x, x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, cos, sin, ctx.inverse, ctx.impl = inputs
    ctx.save_for_backward(cos, sin)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return rope_op(dout, *ctx.saved_tensors, not ctx.inverse, ctx.impl), None, None, None, None


rope_op.register_autograd(_backward, setup_context=_setup)
