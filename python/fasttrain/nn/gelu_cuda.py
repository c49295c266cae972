"""GELU on a card as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

x: contiguous, fp32 or bf16: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator


@operator("fasttrain::gelu_cuda", "cuda")
def gelu_op(x: Tensor) -> Tensor:
    """Return gelu(x)."""
    out = x.new_empty(x.shape)
    _launch([cuda.aligned(x), out, None, None], backward=False)
    return out


@gelu_op.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("fasttrain::gelu_backward_cuda", "cuda")
def gelu_backward_op(dout: Tensor, x: Tensor) -> Tensor:
    """Return dx."""
    dx = x.new_empty(x.shape)
    _launch([cuda.aligned(x), None, cuda.aligned(dout), dx], backward=True)
    return dx


@gelu_backward_op.register_fake
def _(dout: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _launch(tensors: list[Tensor | None], *, backward: bool) -> None:
    x = tensors[0]
    assert x is not None
    addresses, size, is_bf16 = cuda.pointers(tensors), x.numel(), x.dtype == torch.bfloat16
    native = backend.native("gelu_cuda")
    cuda.launch("gelu", x.device, lambda stream: native(addresses, size, is_bf16, backward, stream))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dout: Tensor) -> Tensor:
    dx: Tensor = gelu_backward_op(dout, *ctx.saved_tensors)
    return dx


gelu_op.register_autograd(_backward, setup_context=_setup)
gelu_backward_op.refuse_autograd()
