"""Linear layers that keep little for backward: no copy of a weight in another dtype, no input that can be made again.

Under autocast torch keeps each weight's bf16 copy from forward to backward, 2 bytes a parameter, and each layer's input
in bf16. Here the copy is made twice (6 bytes a weight of traffic, against 2 T flops for T tokens), and an input that is
a cheap function of what is kept anyway, a norm or an activation, is a recipe: made again in backward, with the same
bits. That is activation recomputation of what costs no product (Korthikanti et al. 2022, arXiv:2205.05198). A card
keeps the copies: products are so fast there that the traffic and the launches show, and activations are larger.

The gradient of an input that several layers share is one product, dx = [dy1, dy2] [W1; W2], which adds up in fp32
before it is rounded.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasttrain.core import cuda, pages
from fasttrain.nn.elementwise import cast


@dataclass(frozen=True)
class Recipe:
    """How an input is made: `make(*tensors)`, the same bits at every call, from tensors that somebody keeps anyway."""

    make: Callable[..., Tensor]
    tensors: tuple[Tensor, ...]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, recipe: Recipe | None, num: int, *parameters: Any) -> tuple[Tensor, ...]:
        # x (..., C); parameters: `num` weights (O_i, C), then as many biases (O_i,) or None
        weights, biases = parameters[:num], parameters[num:]
        ctx.dtype, ctx.num, ctx.make = product_dtype(x), num, recipe and recipe.make
        rows = _rows(x, ctx.dtype)
        ctx.keeps_matrix = x.is_cuda and weights[0].dtype != ctx.dtype
        matrix = _stacked(weights, ctx.dtype) if ctx.keeps_matrix else None
        ctx.save_for_backward(*weights, *([] if matrix is None else [matrix]), *(recipe.tensors if recipe else (rows,)))
        ctx.shape, ctx.x_dtype = x.shape, x.dtype
        ctx.bias_dtypes = [None if bias is None else bias.dtype for bias in biases]
        if matrix is not None:
            weights = torch.split(matrix, [len(w) for w in weights])
        return tuple(_product(rows, w, b).view(*x.shape[:-1], len(w)) for w, b in zip(weights, biases))

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        weights, kept, matrix = saved[: ctx.num], saved[ctx.num :], None
        if ctx.keeps_matrix:
            matrix, *kept = kept
        parts = [dy.reshape(-1, dy.shape[-1]) for dy in dys]
        dy = _side_by_side(parts)
        dx = dweights = dbiases = None
        if ctx.needs_input_grad[0]:
            dx = pages.new_empty(dy, (len(dy), weights[0].shape[1]))
            dx = torch.mm(dy, _stacked(weights, ctx.dtype) if matrix is None else matrix, out=dx).view(ctx.shape)
            dx = cast(dx, ctx.x_dtype)
        if any(ctx.needs_input_grad[3 : 3 + ctx.num]):
            rows = _rows(ctx.make(*kept), ctx.dtype) if ctx.make else kept[0]
            dweights = _split(dy, rows, weights)
        if any(ctx.needs_input_grad[3 + ctx.num :]):
            dbiases = [
                None if dtype is None else part.sum(0, dtype=torch.float32).to(dtype)
                for part, dtype in zip(parts, ctx.bias_dtypes)
            ]
        nothing = [None] * ctx.num
        return dx, None, None, *(dweights or nothing), *(dbiases or nothing)


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """[dy1, dy2, ..] (N, sum of O_i), contiguous; without a copy where it is what they are cut of."""
    first = parts[0]
    if len(parts) == 1:
        return first.contiguous()
    shape = len(first), sum(part.shape[1] for part in parts)
    if first.is_cuda and _are_cut(parts, shape):
        return first.as_strided(shape, (shape[1], 1))
    return torch.cat(parts, 1, out=pages.new_empty(first, shape))


def _are_cut(parts: Sequence[Tensor], shape: tuple[int, int]) -> bool:
    memory, at = parts[0].untyped_storage().data_ptr(), parts[0].storage_offset()
    for part in parts:
        is_next = part.storage_offset() == at and part.untyped_storage().data_ptr() == memory
        is_next = is_next and part.stride(1) == 1 and (shape[0] == 1 or part.stride(0) == shape[1])
        if not is_next or part.dtype != parts[0].dtype:
            return False
        at += part.shape[1]
    return True


def product_dtype(x: Tensor) -> torch.dtype:
    """What x is multiplied in: autocast's dtype where that is on, else its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    return cast(x.reshape(-1, x.shape[-1]), dtype)


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = pages.new_empty(rows, (len(rows), len(weight)))
    matrix = _stacked([weight], rows.dtype).t()
    if bias is None:
        return torch.mm(rows, matrix, out=y)
    return torch.addmm(bias.to(rows.dtype), rows, matrix, out=y)


class _Scratch(threading.local):
    """Room for a matrix in the products' dtype, good until the next call; kept, for it is wanted at every product."""

    buffer = torch.empty(0, dtype=torch.uint8)

    def __call__(self, like: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        if like.device.type != "cpu":
            return like.new_empty(shape, dtype=dtype)
        num_bytes = shape[0] * shape[1] * dtype.itemsize
        if len(self.buffer) < num_bytes:
            self.buffer = pages.empty((num_bytes,), torch.uint8)
        return self.buffer[:num_bytes].view(dtype).view(shape)


_scratch = _Scratch()


def _stacked(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """The weights one below the other, in `dtype`."""
    first = weights[0]
    if len(weights) == 1 and first.dtype == dtype:
        return first
    matrix = _scratch(first, (sum(len(w) for w in weights), first.shape[1]), dtype)
    for part, weight in zip(torch.split(matrix, [len(w) for w in weights]), weights):
        part.copy_(weight)
    return matrix


def _split(dy: Tensor, rows: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """dy^T rows, cut into the weights' gradients, each in its weight's dtype."""
    sizes = [len(w) for w in weights]
    if dy.is_cuda and dy.dtype == torch.bfloat16 and all(w.dtype == torch.float32 for w in weights):
        return list(torch.split(cuda.mm_fp32(dy.t(), rows), sizes))  # in fp32 from the product on, without a copy
    gradients = [pages.new_empty(w, w.shape) for w in weights]
    if len(weights) == 1 and weights[0].dtype == dy.dtype:
        return [torch.mm(dy.t(), rows, out=gradients[0])]
    dmatrix = torch.mm(dy.t(), rows, out=_scratch(dy, (dy.shape[1], rows.shape[1]), dy.dtype))
    for gradient, part in zip(gradients, torch.split(dmatrix, sizes)):
        gradient.copy_(part)
    return gradients


def linear(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], recipe: Recipe | None = None
) -> tuple[Tensor, ...]:
    """Return x W^T + b of each pair, in autocast's dtype where that is on; differentiable once.

    Shapes: x (..., C), weights (O_i, C), biases (O_i,) or None -> (..., O_i) each, views of one tensor.
    Args:
        recipe: how x is made; then it is not kept for backward.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return tuple(F.linear(x, weight, bias) for weight, bias in zip(weights, biases))
    y: tuple[Tensor, ...] = _Linear.apply(x, recipe, len(weights), *weights, *biases)  # type: ignore[no-untyped-call]
    return y


def project(layers: Sequence[nn.Linear], x: Tensor, recipe: Recipe | None = None) -> tuple[Tensor, ...]:
    """`linear` by the parameters of layers that take one input."""
    return linear(x, [layer.weight for layer in layers], [layer.bias for layer in layers], recipe)


class Linear(nn.Linear):
    """nn.Linear that knows recipes."""

    def forward(self, x: Tensor, recipe: Recipe | None = None) -> Tensor:
        """Shapes: x (..., C) -> (..., O)."""
        return project([self], x, recipe)[0]
