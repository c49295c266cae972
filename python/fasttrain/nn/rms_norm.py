"""RMSNorm (Zhang & Sennrich 2019), alone and of a sum: the faces and the module."""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend
from fasttrain.nn import rms_norm_cuda, rms_norm_ref
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.linear import Recipe
from fasttrain.nn.rms_norm_op import norm, norm_residual, rms_norm_op, rms_norm_residual_op

_IMPLS = backend.implementations("rms_norm")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


def rms_norm(
    x: Tensor, weight: Tensor, eps: float, *, impl: str | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight, the mean over the last dim, computed in fp32; differentiable.

    Shapes: x (..., C), weight (C,) -> (..., C) in x's dtype.
    Args:
        dtype: that the result is rounded to instead, with the bits of a cast behind the norm; on a card in its pass.
        impl: "reference" (by definition), "torch" (F.rms_norm), a native name (CPU, fp32 and bf16) or "cuda" (the same
            on a card, C a multiple of 8); when None, what FASTTRAIN_IMPL names, else the fastest that runs here.
    Raises: ValueError: a wrong shape or impl.
    """
    impl = _choose(x, None, weight, impl)
    if impl == "reference":
        return _cast(rms_norm_ref.rms_norm(x, None, weight, eps)[0], dtype)
    if impl == "torch":
        return _cast(_torch(x, weight, eps), dtype)
    if impl != "cuda" and not needs_operator(x, weight):
        return _cast(norm(x.contiguous(), weight.float().contiguous(), eps, impl), dtype)
    if impl == "cuda":
        y, _ = rms_norm_cuda.rms_norm_op(_rows(x, x.dtype), weight.float().contiguous(), eps, _made(x.dtype, dtype))
    else:
        y, _ = rms_norm_op(_rows(x, x.dtype), weight.float().contiguous(), eps, impl)
    return _cast(y.view(x.shape), dtype)


def rms_norm_residual(
    x: Tensor,
    residual: Tensor,
    weight: Tensor,
    eps: float,
    *,
    impl: str | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (y, r): r = x + residual and y = rms_norm(r), in one pass over memory, and in one pass backward.

    Shapes: x, residual (..., C), weight (C,) -> (..., C) twice, in the dtype that x + residual has.
    Args and errors: those of `rms_norm`.
    """
    stream = torch.promote_types(x.dtype, residual.dtype)
    if x.dtype == torch.float16:  # the sum is fp32, and normed by what norms it again in backward (`RMSNorm.recipe`)
        x = x.to(stream)
    impl = _choose(x, residual, weight, impl)
    if impl == "reference":
        y, r = rms_norm_ref.rms_norm(x, residual, weight, eps)
        return _cast(y, dtype), r
    if impl == "torch":
        r = x + residual
        return _cast(_torch(r, weight, eps), dtype), r
    if impl != "cuda" and not needs_operator(x, residual, weight):
        summands = x.contiguous(), residual.to(stream).contiguous()
        y, r = norm_residual(*summands, weight.float().contiguous(), eps, impl)
        return _cast(y, dtype), r
    rows = _rows(x, x.dtype), _rows(residual, stream)
    if impl == "cuda":
        made = _made(stream, dtype)
        y, r, _ = rms_norm_cuda.rms_norm_residual_op(*rows, weight.float().contiguous(), eps, made)
    else:
        y, r, _ = rms_norm_residual_op(*rows, weight.float().contiguous(), eps, impl)
    return _cast(y.view(x.shape), dtype), r.view(x.shape)


class RMSNorm(torch.nn.Module):
    """RMSNorm with a learned weight (C,), ones at the start."""

    dtype: torch.dtype | None = None
    """Of what `forward` gives; None: x's. Whoever knows that only products in this dtype take it may set it."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) -> (..., C)."""
        return rms_norm(x, self.weight, self.eps, dtype=self.dtype)

    def of_sum(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return (forward(x + residual), x + residual)."""
        return rms_norm_residual(x, residual, self.weight, self.eps, dtype=self.dtype)

    def recipe(self, x: Tensor) -> Recipe:
        """How `forward(x)`, and the first of `of_sum` where x is the sum, is made."""
        return Recipe(lambda x, weight: rms_norm(x, weight, self.eps, dtype=self.dtype), (x, self.weight))

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"


def _choose(x: Tensor, residual: Tensor | None, weight: Tensor, impl: str | None) -> str:
    if weight.shape != x.shape[-1:]:
        raise ValueError(f"rms_norm: weight must have shape {tuple(x.shape[-1:])}, got {tuple(weight.shape)}")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"rms_norm: residual must have shape {tuple(x.shape)}, got {tuple(residual.shape)}")
    dtypes = {t.dtype for t in (x, residual) if t is not None}
    is_native = x.device.type == "cpu" and dtypes <= set(_NATIVE_DTYPES)
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    is_cuda = dtypes <= set(_NATIVE_DTYPES) and rms_norm_cuda.takes(x)
    if is_cuda and impl in (None, "cuda"):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"rms_norm: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"rms_norm: impl {impl!r} takes fp32 or bf16 on the CPU, got {x.dtype} on {x.device.type}; use impl='torch'"
        )
    return impl


def _made(stream: torch.dtype, dtype: torch.dtype | None) -> torch.dtype:
    """What a card's kernel makes of a stream: its dtype, or bf16."""
    return torch.bfloat16 if dtype == torch.bfloat16 else stream


def _cast(y: Tensor, dtype: torch.dtype | None) -> Tensor:
    return y if dtype is None else y.to(dtype)


def _torch(r: Tensor, weight: Tensor, eps: float) -> Tensor:
    dtype = torch.promote_types(r.dtype, torch.float32)
    return F.rms_norm(r.to(dtype), weight.shape, weight.to(dtype), eps).to(r.dtype)


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    C = x.shape[-1]
    return x.to(dtype).reshape(x.numel() // C if C else 0, C).contiguous()
