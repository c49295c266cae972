"""The order of training: step -> global batch, as a pure function of (seed, data, mixture, step).

slot g = first(step) + p(row)      first: sequences of the steps before, step * B without a warm-up of the batch
                                   p: keyed permutation of the step's rows, so that no rank always draws one source
source, n = deal(g)                the n-th slot of its source (slots.py)
sequence = perm(n mod N; epoch)    epoch = n div N, another keyed permutation of the source's N sequences each epoch
window = ranges(sequence)          packing.py

Nothing is stored, so start and resume cost the same at any size, and the global batch does not depend on the ranks that
share it. A step is turned back into its documents by the same arithmetic.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fasttrain.batch.config import BatchConfig as BatchConfig
from fasttrain.batch.packing import BestFit, Concat, Sequences
from fasttrain.batch.packing_report import report
from fasttrain.batch.permute import make_key, permute, subkeys
from fasttrain.batch.slots import Slots
from fasttrain.batch.window import IGNORED as IGNORED
from fasttrain.batch.window import Batch, Pieces, Reader, assemble
from fasttrain.core.config import fingerprint
from fasttrain.core.errors import ConfigError
from fasttrain.formats.shards import Shard

_SLOTS = 1 << 18  # looked at together when steps are searched; bounds memory


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
        self._shards = {s: shards[s] for s in self.source_names}
        self._readers = [Reader(shards[s]) for s in self.source_names]
        self._sequences = [_sequences(shards[s], config, cache) for s in self.source_names]
        self._counts = np.array([s.count for s in self._sequences], np.int64)
        self._slots = Slots([self.weights[s] for s in self.source_names])
        self._row_key = np.uint64(make_key("rows", config.seed, self.data_fingerprint))
        keys = [make_key("sequences", config.seed, self.data_fingerprint, s) for s in self.source_names]
        self._keys = np.array(keys, np.uint64)

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal batches at every step."""
        config = self.config.to_dict()
        if not self.config.warmup:
            del config["warmup"]  # orders that were trained before there was one keep their name
        return fingerprint([self.data_fingerprint, self.weights, config])

    @property
    def num_sequences(self) -> dict[str, int]:
        """Sequences in an epoch, by source."""
        return dict(zip(self.source_names, self._counts.tolist()))

    def packing(self) -> dict[str, dict[str, float]]:
        """What the packing costs each source (packing_report.py)."""
        shards, config = self._shards, self.config
        counts = self.num_sequences
        return {s: report(shards[s], config.seq_len, config.packing, counts[s]).to_dict() for s in self.source_names}

    def batch(self, step: int, rows: slice | None = None) -> Batch:
        """Return the rows of the global batch of `step` that `rows` selects (all when None)."""
        every = np.arange(self.config.rows(step))
        source, sequence = self._drawn(step, every if rows is None else every[rows])
        return assemble(self._pieces(source, sequence), source, self.config.seq_len)

    def documents(self, step: int) -> list[Span]:
        """Return the pieces of documents in the global batch of `step`, in order of row and place."""
        source, sequence = self._drawn(step, np.arange(self.config.rows(step)))
        parts = self._pieces(source, sequence)
        spans = [Span(row, self.source_names[source[row]], *span) for p in parts for row, span in _spans(p)]
        return sorted(spans, key=lambda span: span.row)  # stable: a row's spans stay in their order

    def batches_of(self, doc_ids: Collection[str], until: int) -> dict[str, list[int]]:
        """Return the batches below `until` that hold a piece of each document (hex), in order.

        Cost: the arithmetic of all slots below, about 1e6 a second, and the documents of the batches that are found.
        """
        found: dict[str, list[int]] = {doc_id: [] for doc_id in doc_ids}
        held = [self._holding(s, found) for s in range(len(self.source_names))]
        at_once = max(_SLOTS // self.config.global_batch, 1)
        for first in range(0, until, at_once):
            begins = self.config.first_slots(np.arange(first, min(first + at_once, until) + 1))
            slots = np.arange(begins[0], begins[-1])
            source, n = self._slots.deal(slots)  # within a step rows are permuted: the step's documents are the same
            epoch, index = np.divmod(n, self._counts[source])
            sequence = permute(index, self._counts[source], subkeys(self._keys[source], epoch))
            hit = np.zeros(len(slots), np.bool_)
            for s, wanted in enumerate(held):
                mine = source == s
                hit[mine] = np.isin(sequence[mine], wanted)
            for batch in np.unique(first + np.searchsorted(begins, slots[hit], "right") - 1).tolist():
                for doc_id in {span.doc_id for span in self.documents(batch)} & found.keys():
                    found[doc_id].append(batch)
        return found

    def _holding(self, s: int, doc_ids: Collection[str]) -> npt.NDArray[np.int64]:
        """Sequences of source s that overlap any of the documents."""
        reader = self._readers[s]
        names = np.ascontiguousarray(reader.doc_ids).view("S16").ravel()
        docs = np.flatnonzero(np.isin(names, np.array([bytes.fromhex(d) for d in doc_ids], "S16")))
        starts, ends = reader.offsets[docs], reader.offsets[docs + 1]
        holding = []
        for first in range(0, int(self._counts[s]) if len(docs) else 0, _SLOTS):
            windows = np.arange(first, min(first + _SLOTS, int(self._counts[s])))
            owner, start, length = self._sequences[s].ranges(windows)
            k = np.minimum(np.searchsorted(ends, start, "right"), len(docs) - 1)
            overlaps = (ends[k] > start) & (starts[k] < start + length)
            holding.append(windows[np.unique(owner[overlaps])])
        return np.concatenate([*holding, np.zeros(0, np.int64)])

    def epochs(self, step: int) -> dict[str, float]:
        """Times that each source has been gone through after `step` steps."""
        counts = self._slots.counts(self.config.first_slot(step))
        return {s: n / c for s, n, c in zip(self.source_names, counts, self._counts.tolist())}

    def _drawn(self, step: int, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Source and sequence of each row."""
        if step < 0:
            raise ValueError(f"order: step must be >= 0, got {step}")
        place = permute(rows, self.config.rows(step), subkeys(self._row_key, np.array([step])))
        source, n = self._slots.deal(self.config.first_slot(step) + place)
        epoch, index = np.divmod(n, self._counts[source])
        return source, permute(index, self._counts[source], subkeys(self._keys[source], epoch))

    def _pieces(self, source: npt.NDArray[np.int32], sequence: npt.NDArray[np.int64]) -> list[Pieces]:
        """The pieces of each source's rows."""
        parts = []
        for s, reader in enumerate(self._readers):
            rows = np.flatnonzero(source == s)
            if len(rows):
                owner, start, length = self._sequences[s].ranges(sequence[rows])
                parts.append(Pieces(reader, rows[owner], start, length))
        return parts


def _spans(part: Pieces) -> Iterator[tuple[int, tuple[str, int, int]]]:
    """(row, (doc_id, first token within the document, tokens)) of each document in each piece."""
    reader = part.reader
    first, end = reader.boundaries(part.start, part.length)
    for row, start, length, a, b in zip(part.row, part.start, part.length, first, end):
        edges = [int(start), *reader.offsets[a:b].tolist(), int(start + length)]
        for doc, (low, high) in enumerate(itertools.pairwise(edges), int(a) - 1):
            if high > low:  # a document without tokens is in no window
                yield int(row), (reader.doc_ids[doc].tobytes().hex(), low - int(reader.offsets[doc]), high - low)


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
