"""Documents in a row: segments (B, T) int32 hold an id for each token. A document is a run of equal ids; a negative id
is padding, which attends to nothing and is seen by nothing."""

import torch
from torch import Tensor


def check_segments(op: str, segments: Tensor, shape: tuple[int, int]) -> None:
    """Raise unless `segments` is an integer (B, T) tensor."""
    if segments.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{op}: segments must have dtype int32, got {segments.dtype}")
    if tuple(segments.shape) != shape:
        raise ValueError(f"{op}: segments must have shape {shape}, got {tuple(segments.shape)}")


def run_starts(segments: Tensor) -> Tensor:
    """(B, T) int64: index of the first token of each token's run."""
    t = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    return torch.where(_begins(segments), t, 0).cummax(1).values if segments.shape[1] else t


def key_ranges(
    num_queries: int, num_keys: int, *, causal: bool, segments: Tensor | None = None, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Which keys each query sees: [lo, hi), two (1, Tq) or (B, Tq) int32 tensors. Every mask here is such a range.

    With causal and Tq < Tk (a KV cache) the last query sees all keys. Padding gets the empty range [0, 0).
    """
    device = device if segments is None else segments.device
    hi = torch.arange(num_queries, device=device, dtype=torch.int32)[None] + (num_keys - num_queries + 1)
    if not causal:
        hi = torch.full_like(hi, num_keys)
    if segments is None:
        return torch.zeros_like(hi), hi
    lo = run_starts(segments).to(torch.int32)
    if not causal:
        ends = segments.shape[1] - run_starts(segments.flip(1)).flip(1)
        hi = ends.to(torch.int32)
    real = segments >= 0
    return torch.where(real, lo, 0), torch.where(real, hi, 0).to(torch.int32)


def _begins(segments: Tensor) -> Tensor:
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return begins
