"""RMSNorm of a sum by its definition: every other implementation is measured against this one.

r (...,C) = x + residual -> y (...,C) = r / sqrt(mean(r^2) + eps) * weight
"""

import torch
from torch import Tensor


def rms_norm(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return (y, r) in r's dtype, computed in fp32 (fp64 stays fp64) from the rounded r; differentiable by autograd."""
    r = x if residual is None else x + residual
    dtype = torch.promote_types(r.dtype, torch.float32)
    wide = r.to(dtype)
    rstd = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * rstd * weight.to(dtype)).to(r.dtype), r
