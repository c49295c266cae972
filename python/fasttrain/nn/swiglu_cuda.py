"""SwiGLU on a card as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

gate and up: contiguous, one shape, fp32 or bf16: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator


@operator("fasttrain::swiglu_cuda", "cuda")
def swiglu_op(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up."""
    out = gate.new_empty(gate.shape)
    _launch([cuda.aligned(gate), cuda.aligned(up), out, None, None, None], backward=False)
    return out


@swiglu_op.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


@operator("fasttrain::swiglu_backward_cuda", "cuda")
def swiglu_backward_op(dout: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Return (dgate, dup)."""
    gradients = gate.new_empty(gate.shape), up.new_empty(up.shape)
    _launch([*(cuda.aligned(x) for x in (gate, up)), None, cuda.aligned(dout), *gradients], backward=True)
    return gradients


@swiglu_backward_op.register_fake
def _(dout: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _launch(tensors: list[Tensor | None], *, backward: bool) -> None:
    gate = tensors[0]
    assert gate is not None
    addresses, size, is_bf16 = cuda.pointers(tensors), gate.numel(), gate.dtype == torch.bfloat16
    native = backend.native("swiglu_cuda")
    cuda.launch("swiglu", gate.device, lambda stream: native(addresses, size, is_bf16, backward, stream))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor]:
    dgate, dup = swiglu_backward_op(dout, *ctx.saved_tensors)
    return dgate, dup


swiglu_op.register_autograd(_backward, setup_context=_setup)
swiglu_backward_op.refuse_autograd()
