"""Windows of T + 1 tokens laid out as a batch: inputs, targets one further, and where documents begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.batch.packing import runs
from fasttrain.formats.shards import Shard

IGNORED = -100  # the target of a place that is not scored, as in torch's cross_entropy
Array = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B sequences of T tokens."""

    tokens: npt.NDArray[np.int64]  # (B, T)
    targets: npt.NDArray[np.int64]  # (B, T), IGNORED where there is nothing to predict
    segments: npt.NDArray[np.int32]  # (B, T), number of the document within the sequence, never falling
    sources: npt.NDArray[np.int32]  # (B,), index into the names of the sources

    @property
    def num_targets(self) -> int:
        """Places that are scored."""
        return int((self.targets != IGNORED).sum())


def cut_short(batch: Batch, seq_len: int) -> Batch:
    """The same tokens as rows of `seq_len`, which divides T: row i of the batch becomes T / seq_len rows in order."""
    T = batch.tokens.shape[1]
    if T % seq_len:
        raise ValueError(f"cut_short: seq_len must divide the batch's {T} tokens, got {seq_len}")
    segments = batch.segments.reshape(-1, seq_len)
    return Batch(
        tokens=batch.tokens.reshape(-1, seq_len),
        targets=batch.targets.reshape(-1, seq_len),
        segments=segments - segments[:, :1],
        sources=np.repeat(batch.sources, T // seq_len),
    )


@dataclass(frozen=True)
class Pieces:
    """Ranges of one shard's tokens, in the order in which they stand in their rows; rows rise."""

    reader: "Reader"
    row: Array  # (M,) of the batch
    start: Array  # (M,) token of the shard
    length: Array  # (M,)


class Reader:
    """Tokens and document boundaries of one shard."""

    def __init__(self, shard: Shard) -> None:
        # Plain views: a memmap's own slicing costs several times an array's.
        self.tokens, self.offsets = np.asarray(shard.tokens), np.asarray(shard.offsets)
        self.doc_ids = np.asarray(shard.doc_ids)

    def boundaries(self, start: Array, length: Array) -> tuple[Array, Array]:
        """(M,) first and last + 1 of the documents that begin inside each range, behind its first token."""
        first = np.searchsorted(self.offsets, start, "right")
        return first, np.maximum(np.searchsorted(self.offsets, start + length, "left"), first)


def assemble(parts: Sequence[Pieces], sources: npt.NDArray[np.int32], seq_len: int) -> Batch:
    """Lay the pieces out; a row's pieces come from one part. Short rows are padded with token 0, never scored.

    Padding is a segment of its own, so that a document mask keeps it apart.
    """
    B, width = len(sources), seq_len + 1
    window = np.zeros((B, width), np.int64)
    used = np.zeros(B, np.int64)
    marks = []  # flat places of `window` where another document, or padding, begins
    for part in parts:
        place = _places(part.row, part.length)
        _copy(part.reader.tokens, part, place, window)
        used += np.bincount(part.row, part.length, minlength=B).astype(np.int64)
        first, end = part.reader.boundaries(part.start, part.length)
        counts = end - first
        shift = part.row * width + place - part.start
        marks.append(part.reader.offsets[runs(first, counts)] + np.repeat(shift, counts))
        marks.append((part.row * width + place)[place > 0])
    short = np.flatnonzero(used < width)
    marks.append(short * width + used[short])
    begins = np.bincount(np.concatenate(marks), minlength=B * width).reshape(B, width)
    targets = window[:, 1:].copy()
    for row in short.tolist():
        targets[row, max(int(used[row]) - 1, 0) :] = IGNORED
    return Batch(
        tokens=window[:, :seq_len].copy(),
        targets=targets,
        segments=np.cumsum(begins[:, :seq_len], axis=1, dtype=np.int32),
        sources=sources,
    )


def _places(row: Array, length: Array) -> Array:
    """(M,) where each piece begins in its row: the lengths of the row's pieces before it."""
    before = np.cumsum(length) - length
    is_first = np.ones(len(row), bool)
    is_first[1:] = row[1:] != row[:-1]
    first = np.flatnonzero(is_first)
    return before - np.repeat(before[first], np.diff(np.append(first, len(row))))


def _copy(tokens: npt.NDArray[Any], part: Pieces, place: Array, window: Array) -> None:
    # A slice a piece: one gather with an index for each token took 1.6 times as long.
    for r, p, s, n in zip(part.row.tolist(), place.tolist(), part.start.tolist(), part.length.tolist()):
        window[r, p : p + n] = tokens[s : s + n]
