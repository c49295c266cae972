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
    _launch([cuda.aligned(gate), cuda.aligned(up), out, None, None], backward=False)
    return out


@swiglu_op.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


@operator("fasttrain::swiglu_backward_cuda", "cuda")
def swiglu_backward_op(dout: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """Return [dgate, dup] (..., 2 F), side by side: so the product that makes dx of both takes them."""
    both = _both(gate)
    _launch([*(cuda.aligned(x) for x in (gate, up)), None, cuda.aligned(dout), both], backward=True)
    return both


@swiglu_backward_op.register_fake
def _(dout: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    return _both(gate)


def _both(gate: Tensor) -> Tensor:
    return gate.new_empty((*gate.shape[:-1], 2 * gate.shape[-1]))


def _launch(tensors: list[Tensor | None], *, backward: bool) -> None:
    gate = tensors[0]
    assert gate is not None
    columns = gate.shape[-1]
    sizes = [gate.numel() // max(columns, 1), columns]
    addresses, is_bf16 = cuda.pointers(tensors), gate.dtype == torch.bfloat16
    native = backend.native("swiglu_cuda")
    cuda.launch("swiglu", gate.device, lambda stream: native(addresses, sizes, is_bf16, backward, stream))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor]:
    dgate, dup = swiglu_backward_op(dout, *ctx.saved_tensors).chunk(2, -1)
    return dgate, dup


swiglu_op.register_autograd(_backward, setup_context=_setup)
swiglu_backward_op.refuse_autograd()
