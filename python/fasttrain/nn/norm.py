"""RMSNorm (Zhang & Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * weight, the mean taken over the last dim."""

from typing import Any

import torch
from torch import Tensor


class _RmsNorm(torch.autograd.Function):
    # One saved tensor (x) and one number a row, against five saved by the composite expression; torch's own rms_norm is
    # composite on CPU and 3-20 times slower than its layer_norm.
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x32 = x.float()
        rstd = torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, rstd)
        return ((x32 * rstd) * weight.float()).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x, weight, rstd = ctx.saved_tensors
        dy32 = dy.float()
        normed = x.float() * rstd
        dweight = (dy32 * normed).flatten(0, -2).sum(0) if dy.ndim > 1 else dy32 * normed
        g = dy32 * weight.float()
        dx = (g - normed * (g * normed).mean(-1, keepdim=True)) * rstd
        return dx.to(x.dtype), dweight.to(weight.dtype), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight, computed in fp32 and given back in x's dtype.

    Shapes: x (..., C), weight (C,).
    """
    if weight.shape != x.shape[-1:]:
        raise ValueError(f"rms_norm: weight must have shape {tuple(x.shape[-1:])}, got {tuple(weight.shape)}")
    y: Tensor = _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return y


class RMSNorm(torch.nn.Module):
    """RMSNorm with a learned weight (C,), ones at the start."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) -> (..., C)."""
        return rms_norm(x, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"
