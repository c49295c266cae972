"""Rotary positions (Su et al. 2021) in the rotate-half convention of Hugging Face's Llama, so that an export needs
no permutation: pair d of a head is (x[d], x[d + D/2]), turned by position * theta^(-2d/D)."""

import torch
from torch import Tensor

from fasttrain.nn.segments import run_starts


def positions(
    num_tokens: int, segments: Tensor | None = None, *, start: int = 0, device: torch.device | None = None
) -> Tensor:
    """Position of each token in its document: (1, T) int64, or (B, T) with segments, where each run restarts at 0."""
    t = torch.arange(num_tokens, device=device if segments is None else segments.device)[None] + start
    return t if segments is None else t - run_starts(segments)


def rope_tables(positions_BT: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return (cos, sin), each (B or 1, T, 1, D) fp32, for `rope`. Both halves of D hold the same D/2 angles."""
    if head_dim % 2:
        raise ValueError(f"rope: head_dim must be even, got {head_dim}")
    exponent = torch.arange(0, head_dim, 2, device=positions_BT.device, dtype=torch.float32) / head_dim
    angles = positions_BT[..., None].float() * (1.0 / theta**exponent)
    angles = torch.cat((angles, angles), -1)[:, :, None]
    return angles.cos(), angles.sin()


def rope(x_BTHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head by its position; computed in fp32, given back in x's dtype.

    Shapes: x (B, T, H, D); cos, sin (B or 1, T, 1, D) of `rope_tables`.
    """
    x = x_BTHD.float()
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x_BTHD.dtype)
