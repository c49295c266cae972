"""Rotary positions (Su et al. 2021) in the rotate-half convention of Hugging Face's Llama, so that an export needs
no permutation: pair d of a head is (x[d], x[d + D/2]), turned by position * theta^(-2d/D)."""

import os

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.nn import rope_cuda, rope_ref
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.rope_op import forward, rope_op
from fasttrain.nn.rope_scaling import RopeScaling
from fasttrain.nn.segments import run_starts

_IMPLS = backend.implementations("rope")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


def positions(
    num_tokens: int, segments: Tensor | None = None, *, start: int = 0, device: torch.device | None = None
) -> Tensor:
    """Position of each token in its document: (1, T) int64, or (B, T) with segments, where each run restarts at 0."""
    t = torch.arange(num_tokens, device=device if segments is None else segments.device)[None] + start
    return t if segments is None else t - run_starts(segments)


def rope_tables(
    positions_BT: Tensor, head_dim: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Return (cos, sin), each (B or 1, T, 1, D) fp32, for `rope`. Both halves of D hold the same D/2 angles."""
    if head_dim % 2:
        raise ValueError(f"rope: head_dim must be even, got {head_dim}")
    exponent = torch.arange(0, head_dim, 2, device=positions_BT.device, dtype=torch.float32) / head_dim
    frequencies = 1.0 / theta**exponent
    if scaling is not None:
        frequencies = scaling.scaled(frequencies)
    angles = positions_BT[..., None].float() * frequencies
    angles = torch.cat((angles, angles), -1)[:, :, None]
    return angles.cos(), angles.sin()


def rope(x_BTHD: Tensor, cos: Tensor, sin: Tensor, *, impl: str | None = None) -> Tensor:
    """Turn each head by its position; computed in fp32, given back in x's dtype; differentiable in x.

    Shapes: x (B, T, H, D); cos, sin (B or 1, T, 1, D) of `rope_tables`, whose two halves are equal -> (B, T, H, D).
    Args:
        impl: "reference" (by definition), "torch", a native name (CPU, fp32 and bf16, fp32 tables without a gradient)
            or "cuda" (the same on a card); when None, what FASTTRAIN_IMPL names, else the fastest that runs here.
    Raises: ValueError: a wrong shape or impl.
    """
    impl = _choose(x_BTHD, cos, sin, impl)
    if impl == "reference":
        return rope_ref.rope(x_BTHD, cos, sin)
    if impl == "torch":
        x = x_BTHD.to(torch.promote_types(x_BTHD.dtype, torch.float32))
        first, second = x.chunk(2, -1)
        return (x * cos + torch.cat((-second, first), -1) * sin).to(x_BTHD.dtype)
    if impl == "cuda":
        on_card: Tensor = rope_cuda.rope_op(x_BTHD.contiguous(), cos.contiguous(), sin.contiguous(), False)
        return on_card
    run = rope_op if needs_operator(x_BTHD, cos, sin) else forward
    out: Tensor = run(x_BTHD.contiguous(), cos.contiguous(), sin.contiguous(), False, impl)
    return out


def _choose(x: Tensor, cos: Tensor, sin: Tensor, impl: str | None) -> str:
    if x.ndim != 4 or x.shape[-1] % 2:
        raise ValueError(f"rope: x must have shape (B, T, H, D) with an even D, got {tuple(x.shape)}")
    B, T, _, D = x.shape
    if cos.shape != sin.shape or cos.shape not in ((B, T, 1, D), (1, T, 1, D)):
        raise ValueError(
            f"rope: cos and sin must have shape {(B, T, 1, D)} or {(1, T, 1, D)}, "
            f"got {tuple(cos.shape)} and {tuple(sin.shape)}"
        )
    tables = all(t.dtype == torch.float32 and not t.requires_grad and t.device == x.device for t in (cos, sin))
    takes = tables and x.dtype in _NATIVE_DTYPES
    is_native = takes and x.device.type == "cpu"
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl in (None, "cuda") and takes and cuda.is_built(x):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"rope: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"rope: impl {impl!r} takes fp32 or bf16 on the CPU and fp32 tables without a gradient, got {x.dtype} on "
            f"{x.device.type} and {cos.dtype}; use impl='torch'"
        )
    return impl
