"""The global gradient norm and the clipping coefficient."""

import math
from collections.abc import Iterable

import numpy as np
from torch import Tensor

_BLOCK = 1 << 16  # fixed, so that the sum has one order for any thread count


def sum_squares(x: Tensor) -> float:
    """Sum of squares in fp64, over blocks of fixed length, in order: the same bits for any thread count."""
    flat = x.detach().contiguous().view(-1).float().cpu().numpy()
    return math.fsum(
        float(np.square(flat[i : i + _BLOCK], dtype=np.float64).sum()) for i in range(0, len(flat), _BLOCK)
    )


def global_norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of all values together, in fp64; inf or nan when a value is."""
    total = 0.0
    for x in tensors:
        total += sum_squares(x)
    return math.sqrt(total)


def clip_coefficient(norm: float, clip_norm: float) -> float:
    """Return min(1, clip_norm / norm), what gradients are multiplied by; 1 when clip_norm is 0 (no clipping)."""
    return 1.0 if clip_norm <= 0.0 or norm <= clip_norm else clip_norm / norm
