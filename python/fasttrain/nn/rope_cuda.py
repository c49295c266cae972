"""RoPE on a card as a torch operator with a fake kernel and a gradient, so that torch.compile sees through it.

x (B,T,H,D) contiguous, fp32 or bf16; cos and sin (B or 1, T, 1, D) contiguous fp32: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator


@operator("fasttrain::rope_cuda", "cuda")
def rope_op(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> Tensor:
    """Return x turned by the angles of the tables, or back by them."""
    out = x.new_empty(x.shape)
    x, cos, sin = (cuda.aligned(t) for t in (x, cos, sin))  # a gradient may come with any strides
    addresses, sizes = cuda.pointers([x, cos, sin, out]), [*x.shape, len(cos)]
    is_bf16, native = x.dtype == torch.bfloat16, backend.native("rope_cuda")
    cuda.launch("rope", x.device, lambda stream: native(addresses, sizes, is_bf16, inverse, stream))
    return out


@rope_op.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> Tensor:
    return x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, cos, sin, ctx.inverse = inputs
    ctx.save_for_backward(cos, sin)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return rope_op(dout, *ctx.saved_tensors, not ctx.inverse), None, None, None


rope_op.register_autograd(_backward, setup_context=_setup)
