"""The order of training: step -> global batch, as a pure function of (seed, data, mixture, step).

slot g = step * B + p(row)         p: keyed permutation of the step's rows, so that no rank always draws the same source
source, n = deal(g)                the n-th slot of its source (slots.py)
sequence = perm(n mod N; epoch)    epoch = n div N, another keyed permutation of the source's N sequences each epoch
window = ranges(sequence)          packing.py

Nothing is stored, so start and resume cost the same at any size, and the global batch does not depend on the ranks that
share it. A step is turned back into its documents by the same arithmetic.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fasttrain.batch.packing import BestFit, Concat, Sequences
from fasttrain.batch.permute import make_key, permute, subkeys
from fasttrain.batch.slots import Slots
from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import ConfigError
from fasttrain.formats.shards import Shard

IGNORED = -100  # the target of a place that is not scored, as in torch's cross_entropy


class BatchConfig(Settings):
    """What a training step reads."""

    seq_len: int = Field(default=256, ge=1)
    """Tokens of a sequence."""
    global_batch: int = Field(default=32, ge=1)
    """Sequences of a step, all ranks and accumulation together."""
    packing: Literal["concat", "best_fit"] = "best_fit"
    """"concat" cuts the stream of documents anywhere; "best_fit" keeps documents whole and pads."""
    document_mask: bool = False
    """Whether attention stops at document boundaries."""
    seed: int = Field(default=0, ge=0)
    """Of the order; another seed, another order of the same text."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B sequences of T tokens."""

    tokens: npt.NDArray[np.int64]  # (B, T)
    targets: npt.NDArray[np.int64]  # (B, T), IGNORED where there is nothing to predict
    segments: npt.NDArray[np.int32]  # (B, T), number of the document within the sequence, never falling
    sources: npt.NDArray[np.int32]  # (B,), index into source_names

    @property
    def num_targets(self) -> int:
        """Places that are scored."""
        return int((self.targets != IGNORED).sum())


class Span(NamedTuple):
    """A piece of a document in a sequence's window of T + 1 tokens."""

    row: int
    source: str
    doc_id: str  # hex
    start: int  # first token, counted from the document's first
    length: int  # tokens


class Order:
    """Global batches by step.

    Args:
        shards: token shards by source.
        weights: share of each source; they are brought to a sum of 1. Sources without weight are not drawn.
        config: sizes, packing and seed.
        data_fingerprint: of the data; from the shards when None.
        cache: folder for the index of best-fit packing; in memory when None.
    Raises: ConfigError: a weight without a shard, a negative one, none at all, or a shard too small for a sequence.
    """

    def __init__(
        self,
        shards: Mapping[str, Shard],
        weights: Mapping[str, float],
        config: BatchConfig,
        *,
        data_fingerprint: str | None = None,
        cache: Path | None = None,
    ) -> None:
        _check(shards, weights)
        total = sum(weights.values())
        self.config = config
        self.source_names = tuple(sorted(s for s, w in weights.items() if w > 0))
        self.weights = {s: weights[s] / total for s in self.source_names}
        self.data_fingerprint = data_fingerprint or fingerprint({s: shards[s].fingerprint for s in self.source_names})
        self._readers = [Reader(shards[s], _sequences(shards[s], config, cache)) for s in self.source_names]
        self._slots = Slots([self.weights[s] for s in self.source_names])
        self._row_key = make_key("rows", config.seed, self.data_fingerprint)
        self._keys = [make_key("sequences", config.seed, self.data_fingerprint, s) for s in self.source_names]

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal batches at every step."""
        return fingerprint([self.data_fingerprint, self.weights, self.config.to_dict()])

    @property
    def num_sequences(self) -> dict[str, int]:
        """Sequences in an epoch, by source."""
        return {s: r.sequences.count for s, r in zip(self.source_names, self._readers)}

    def batch(self, step: int, rows: slice | None = None) -> Batch:
        """Return the rows of the global batch of `step` that `rows` selects (all when None)."""
        chosen = np.arange(self.config.global_batch)[rows if rows is not None else slice(None)]
        source, sequence = self._drawn(step, chosen)
        pairs = ((self._readers[s], i) for s, i in zip(source.tolist(), sequence.tolist()))
        return assemble([r.window(i) for r, i in pairs], source, self.config.seq_len)

    def documents(self, step: int) -> list[Span]:
        """Return the pieces of documents in the global batch of `step`, in order of row and place."""
        source, sequence = self._drawn(step, np.arange(self.config.global_batch))
        spans = []
        for row, (s, i) in enumerate(zip(source.tolist(), sequence.tolist())):
            spans += [Span(row, self.source_names[s], *piece) for piece in self._readers[s].documents(i)]
        return spans

    def epochs(self, step: int) -> dict[str, float]:
        """Times that each source has been gone through after `step` steps."""
        counts = self._slots.counts(step * self.config.global_batch)
        return {s: n / r.sequences.count for s, n, r in zip(self.source_names, counts, self._readers)}

    def _drawn(self, step: int, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Source and sequence of each row."""
        if step < 0:
            raise ValueError(f"order: step must be >= 0, got {step}")
        size = self.config.global_batch
        place = permute(rows, size, subkeys(self._row_key, np.array([step])))
        source, n = self._slots.deal(step * size + place)
        sequence = np.zeros_like(n)
        for s in np.unique(source).tolist():
            mine = source == s
            epoch, index = np.divmod(n[mine], self._readers[s].sequences.count)
            sequence[mine] = permute(index, self._readers[s].sequences.count, subkeys(self._keys[s], epoch))
        return source, sequence


class Reader:
    """Windows of one shard."""

    def __init__(self, shard: Shard, sequences: Sequences) -> None:
        self.sequences = sequences
        # Plain views: a memmap's own slicing costs several times an array's.
        self._tokens, self._offsets = np.asarray(shard.tokens), np.asarray(shard.offsets)
        self._doc_ids = shard.doc_ids

    def window(self, i: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Tokens of window i, and the places in it where another document begins."""
        ranges = self.sequences.ranges(i)
        tokens = [self._tokens[start : start + length] for start, length in ranges]
        breaks: list[npt.NDArray[np.int64]] = []
        place = 0
        for start, length in ranges:
            _, inner = self._boundaries(start, length)
            breaks += [np.array([place]), inner - start + place] if place else [inner - start]
            place += length
        return (tokens[0] if len(tokens) == 1 else np.concatenate(tokens)), np.concatenate(breaks)

    def documents(self, i: int) -> list[tuple[str, int, int]]:
        """(doc_id, first token within the document, tokens) of each piece of window i."""
        pieces = []
        for start, length in self.sequences.ranges(i):
            first, inner = self._boundaries(start, length)
            edges = [start, *inner.tolist(), start + length]
            for doc, (a, b) in enumerate(itertools.pairwise(edges), first):
                if b > a:  # a document without tokens is in no window
                    pieces.append((self._doc_ids[doc].tobytes().hex(), a - int(self._offsets[doc]), b - a))
        return pieces

    def _boundaries(self, start: int, length: int) -> tuple[int, npt.NDArray[np.int64]]:
        """The document that holds token `start`, and the starts of those that begin behind it in the range."""
        first = int(np.searchsorted(self._offsets, start, "right")) - 1
        end = int(np.searchsorted(self._offsets, start + length, "left"))
        return first, self._offsets[first + 1 : end]


def assemble(
    windows: list[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]], sources: npt.NDArray[np.int32], seq_len: int
) -> Batch:
    """Lay windows of at most seq_len + 1 tokens out as a batch; short ones are padded with token 0, never scored.

    Padding is a segment of its own, so that a document mask keeps it apart.
    """
    B = len(windows)
    tokens = np.zeros((B, seq_len), np.int64)
    targets = np.full((B, seq_len), IGNORED, np.int64)
    marks = np.zeros((B, seq_len + 1), np.int32)
    for row, (window, breaks) in enumerate(windows):
        inputs = min(len(window), seq_len)
        tokens[row, :inputs] = window[:inputs]
        targets[row, : len(window) - 1] = window[1:]
        np.add.at(marks[row], breaks, 1)  # two breaks at one place: a document without tokens lies between
        if inputs < seq_len:
            marks[row, inputs] += 1
    segments = np.cumsum(marks[:, :seq_len], axis=1, dtype=np.int32)
    return Batch(tokens=tokens, targets=targets, segments=segments, sources=sources)


def _sequences(shard: Shard, config: BatchConfig, cache: Path | None) -> Sequences:
    if config.packing == "concat":
        return Concat(shard.num_tokens, config.seq_len)
    return BestFit(shard, config.seq_len, cache)


def _check(shards: Mapping[str, Shard], weights: Mapping[str, float]) -> None:
    for s, w in weights.items():
        if not (0 <= w < float("inf")):
            raise ConfigError(f"order: the weight of {s} must be a number >= 0, got {w}")
        if w > 0 and s not in shards:
            raise ConfigError(f"order: {s} has a weight but no token shard; there are {', '.join(sorted(shards))}")
        if w > 0 and shards[s].num_tokens < 2:
            raise ConfigError(f"order: {s} must hold at least 2 tokens, got {shards[s].num_tokens}; give it no weight")
    if not any(w > 0 for w in weights.values()):
        raise ConfigError("order: at least one source must have a weight > 0")
