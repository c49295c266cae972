"""Native RoPE as a torch operator with a fake kernel and a gradient, so that torch.compile sees through it.

x (B,T,H,D) fp32 or bf16; cos and sin (B or 1, T, 1, D) fp32; all contiguous: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.nn.arrays import array


@torch.library.custom_op("fasttrain::rope", mutates_args=(), device_types="cpu")
def rope_op(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool, impl: str) -> Tensor:
    """Return x turned by the angles of the tables, or back by them."""
    out = pages.new_empty(x, x.shape)
    x = x.contiguous()  # a gradient may come with any strides
    tables = (array(table.flatten(1, 2)) for table in (cos, sin))
    backend.native("rope")(array(x), *tables, array(out), inverse, torch.get_num_threads(), impl)
    return out


@rope_op.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool, impl: str) -> Tensor:
    return pages.new_empty(x, x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, cos, sin, ctx.inverse, ctx.impl = inputs
    ctx.save_for_backward(cos, sin)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return rope_op(dout, *ctx.saved_tensors, not ctx.inverse, ctx.impl), None, None, None, None


rope_op.register_autograd(_backward, setup_context=_setup)
