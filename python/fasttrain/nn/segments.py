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


def check_cu_seqlens(op: str, cu_seqlens: Tensor) -> None:
    """Raise unless `cu_seqlens` is an int32 (N + 1,) tensor."""
    if cu_seqlens.dtype != torch.int32:
        raise TypeError(f"{op}: cu_seqlens must have dtype int32, got {cu_seqlens.dtype}")
    if cu_seqlens.ndim != 1 or not cu_seqlens.shape[0]:
        raise ValueError(f"{op}: cu_seqlens must have shape (num_docs + 1,), got {tuple(cu_seqlens.shape)}")


def key_ranges(
    num_queries: int,
    num_keys: int,
    *,
    causal: bool,
    segments: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    rows: int = 1,
    window: int | None = None,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Which keys each query sees: [lo, hi), two (1, Tq) or (B, Tq) int32 tensors. Every mask here is such a range.

    With causal and Tq < Tk (a KV cache) the last query sees all keys. Padding gets the empty range [0, 0). `cu_seqlens`
    counts through all `rows` (B) rows. A window leaves keys less than that far from the query, on both sides.
    """
    device = device if segments is None else segments.device
    behind = torch.arange(num_keys - num_queries + 1, num_keys + 1, device=device, dtype=torch.int32)[None]
    lo, hi = torch.zeros_like(behind), behind if causal else torch.full_like(behind, num_keys)
    if segments is not None:
        lo, hi = _within(*_runs(segments), hi, causal=causal)
    elif cu_seqlens is not None:
        lo, hi = _within(*_documents(cu_seqlens.to(device), rows, num_queries), hi, causal=causal)
    if window is not None:
        lo, hi = torch.maximum(lo, behind - window), torch.minimum(hi, behind + (window - 1))
        hi = torch.maximum(hi, lo)  # a query without keys keeps none
    return lo, hi


def _within(start: Tensor, end: Tensor, hi: Tensor, *, causal: bool) -> tuple[Tensor, Tensor]:
    """Ranges of queries whose document is [start, end); end = 0 of padding."""
    real = end > 0
    hi = torch.where(real, hi if causal else end, 0)
    return torch.where(real, start, 0).to(torch.int32), hi.to(torch.int32)


def _runs(segments: Tensor) -> tuple[Tensor, Tensor]:
    starts = run_starts(segments)
    ends = segments.shape[1] - run_starts(segments.flip(1)).flip(1)
    return starts, torch.where(segments >= 0, ends, 0)


def _documents(cu_seqlens: Tensor, rows: int, num_tokens: int) -> tuple[Tensor, Tensor]:
    """A document that does not end with its row is cut there; tokens behind the last one are padding."""
    token = torch.arange(rows * num_tokens, device=cu_seqlens.device, dtype=torch.int32)
    after = torch.searchsorted(cu_seqlens, token, right=True).clamp(1, max(len(cu_seqlens) - 1, 1))
    row = token // max(num_tokens, 1) * num_tokens
    start, end = cu_seqlens[after - 1], cu_seqlens[after.clamp(max=len(cu_seqlens) - 1)]
    real = (start <= token) & (token < end)
    start, end = torch.maximum(start, row) - row, torch.minimum(end, row + num_tokens) - row
    end = torch.where(real, end, 0)
    return start.view(rows, num_tokens), end.view(rows, num_tokens)


def _begins(segments: Tensor) -> Tensor:
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return begins
