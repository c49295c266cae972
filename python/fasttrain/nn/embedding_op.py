"""An embedding as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

The forward pass is torch's, which copies rows; the gradient is native: sums in fp32 in the order of tokens, each row of
dweight written once: where it is a mapping, zeros come with its pages. (torch adds in the weight's dtype, behind a pass
of zeros.)
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn import embedding_ref
from fasttrain.nn.arrays import array


def forward(ids: Tensor, weight: Tensor, impl: str) -> Tensor:
    """Return weight[ids]: ids (...) int64, weight (V,C) -> (..., C)."""
    return F.embedding(ids, weight)


embedding_op = operator("fasttrain::embedding")(forward)


@embedding_op.register_fake
def _(ids: Tensor, weight: Tensor, impl: str) -> Tensor:
    return weight.new_empty((*ids.shape, weight.shape[1]))


@operator("fasttrain::embedding_backward")
def embedding_backward_op(dout: Tensor, ids: Tensor, num_words: int, impl: str) -> Tensor:
    """Return dweight (V,C) of dout (..., C), fp32 or bf16, and ids (...) int64 in [0, V)."""
    index = ids.reshape(-1).contiguous()
    rows = dout.reshape(index.numel(), dout.shape[-1]).contiguous()  # an expanded gradient has stride 0
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= num_words):
        raise IndexError(f"embedding: ids must lie in [0, {num_words}), got {int(index.min())} to {int(index.max())}")
    if impl == "reference":
        return embedding_ref.embedding_backward(rows, index, num_words)
    shape = num_words, rows.shape[1]
    zeros = pages.mapped_zeros(shape, rows.dtype)
    dweight = pages.empty(shape, rows.dtype) if zeros is None else zeros
    scratch = index.new_empty(index.numel()), index.new_empty(num_words + 1)
    arrays = (array(x) for x in (rows, index, dweight, *scratch))
    backend.native("embedding_backward")(*arrays, zeros is not None, torch.get_num_threads(), impl)
    return dweight


@embedding_backward_op.register_fake
def _(dout: Tensor, ids: Tensor, num_words: int, impl: str) -> Tensor:
    return dout.new_empty((num_words, dout.shape[-1]))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ids, weight, ctx.impl = inputs
    ctx.num_words = len(weight)
    ctx.save_for_backward(ids)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return None, embedding_backward_op(dout, *ctx.saved_tensors, ctx.num_words, ctx.impl), None


embedding_op.register_autograd(_backward, setup_context=_setup)
embedding_backward_op.refuse_autograd()
