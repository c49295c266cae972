"""Rows of a matrix by number, with a gradient that is exact in fp32 and the same for any number of threads."""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.embedding_op import embedding_op, forward

_IMPLS = backend.implementations("embedding")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


def embedding(ids: Tensor, weight: Tensor, *, impl: str | None = None) -> Tensor:
    """Return weight[ids]; differentiable in the weight. The gradient of a word is added up in fp32, token by token.

    Shapes: ids (...) int64 or int32, weight (V, C) -> (..., C), in the weight's dtype.
    Args:
        impl: "reference" (by definition, slow), "torch" (F.embedding) or a native name (CPU, fp32 and bf16); when None,
            what FASTTRAIN_IMPL names, else the fastest that runs here.
    Raises: ValueError: a wrong shape or impl. TypeError: ids that are no integers. IndexError: an id that is no row.
    """
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must have shape (V, C), got {tuple(weight.shape)}")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"embedding: ids must have dtype int64 or int32, got {ids.dtype}")
    impl = _choose(weight, impl)
    if impl == "torch":
        return F.embedding(ids, weight)
    run = embedding_op if needs_operator(ids, weight) else forward
    out: Tensor = run(ids.long(), weight, impl)
    return out


class Embedding(torch.nn.Embedding):
    """torch's module (V rows of C, no padding row) with the gradient of `embedding`."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim)

    def reset_parameters(self) -> None:
        """Draw rows as torch does; not of a "meta" weight, for which torch would load all of torch.compile."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Shapes: ids (...) -> (..., C)."""
        return embedding(input, self.weight)


def _choose(weight: Tensor, impl: str | None) -> str:
    is_native = weight.device.type == "cpu" and weight.dtype in _NATIVE_DTYPES
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"embedding: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"embedding: impl {impl!r} takes fp32 or bf16 on the CPU, got {weight.dtype} on {weight.device.type}; "
            "use impl='torch'"
        )
    return impl
