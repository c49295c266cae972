"""Rotary positions by their definition: every other implementation is measured against this one.

Pair d < D/2 of a head, (x[d], x[d + D/2]), is turned by the angle whose cosine is cos[d] and whose sine is sin[d].
"""

import torch
from torch import Tensor


def rope(x_BTHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair, in fp32 (fp64 stays fp64), in x's dtype; differentiable by autograd. Tables (B or 1, T, 1, D)."""
    dtype = torch.promote_types(x_BTHD.dtype, torch.float32)
    half = x_BTHD.shape[-1] // 2
    a, b = x_BTHD[..., :half].to(dtype), x_BTHD[..., half:].to(dtype)
    c, s = cos[..., :half].to(dtype), sin[..., :half].to(dtype)
    return torch.cat((a * c - b * s, b * c + a * s), -1).to(x_BTHD.dtype)
