"""Native SwiGLU as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

gate and up: contiguous, one shape, fp32 or bf16: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn.arrays import array


def forward(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    """Return silu(gate) * up."""
    gate, up = gate.contiguous(), up.contiguous()
    out = pages.empty_like(gate)
    addresses = gate.data_ptr(), up.data_ptr(), out.data_ptr()
    is_bf16, threads = gate.dtype is torch.bfloat16, torch.get_num_threads()
    backend.native("swiglu")(*addresses, gate.numel(), is_bf16, threads, impl)
    return out


swiglu_op = operator("fasttrain::swiglu")(forward)


@swiglu_op.register_fake
def _(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    return pages.new_empty(gate, gate.shape)


@operator("fasttrain::swiglu_backward")
def swiglu_backward_op(dout: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    """Return (dgate, dup)."""
    gradients = pages.new_empty(gate, gate.shape), pages.new_empty(up, up.shape)
    arrays = [array(x) for x in (dout.contiguous(), gate, up, *gradients)]
    backend.native("swiglu_backward")(*arrays, torch.get_num_threads(), impl)
    return gradients


@swiglu_backward_op.register_fake
def _(dout: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return pages.new_empty(gate, gate.shape), pages.new_empty(up, up.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.impl = inputs
    ctx.save_for_backward(gate, up)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return *swiglu_backward_op(dout, *ctx.saved_tensors, ctx.impl), None


swiglu_op.register_autograd(_backward, setup_context=_setup)
swiglu_backward_op.refuse_autograd()
