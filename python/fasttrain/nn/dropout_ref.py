"""Dropout by its definition: every other implementation must draw the same masks.

Value e of row b is kept where word e mod 64 of the Philox block (16 (e // 64), rows[b], step, site) reaches threshold.
"""

import numpy as np
import torch
from torch import Tensor

from fasttrain.core import philox


def dropout(x_BE: Tensor, rows: Tensor, seed: int, step: int, site: int, p: float) -> Tensor:
    """x / (1 - p) where it is kept, else 0; in fp32 (fp64 stays fp64), in x's dtype; differentiable by autograd."""
    B, E = x_BE.shape
    keep = np.empty((B, E), np.bool_)
    for b, row in enumerate(rows.tolist()):
        bits = philox.words(0, -(-E // philox.WORDS), row, step, site, seed)
        keep[b] = bits.ravel()[:E] >= threshold(p)
    dtype = torch.promote_types(x_BE.dtype, torch.float32)
    scaled = x_BE.to(dtype) * np.float32(1.0 / (1.0 - p)).item()
    return scaled.masked_fill(~torch.from_numpy(keep), 0.0).to(x_BE.dtype)


def threshold(p: float) -> int:
    """How many of the 2^32 values of a word drop: p to the nearest."""
    return min(round(p * 2.0**32), 2**32 - 1)
