"""Shingle sets of the documents in proposed pairs, and the exact similarity of each pair.

Sets lie on disk as sorted 64-bit hashes, one file a part. A chunk of pairs loads the sets that it needs, each once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exchange import Ints, Words
from fasttrain.dedup.jaccard import Sets, containment, jaccard
from fasttrain.dedup.rows import Parts
from fasttrain.formats.document import iter_documents
from fasttrain.text import columns
from fasttrain.text.shingle import shingle

CHUNK = 1 << 22  # elements of the sets of pairs that are compared at once
EDGE = np.dtype(
    [
        ("worse", "<u8"),
        ("better", "<u8"),  # ranks
        ("worse_document", "<u8"),
        ("better_document", "<u8"),
        ("bits", "<u8"),  # a bit for each band that proposed the pair
        ("score", "<f8"),  # exact Jaccard or containment, or cosine
        ("kind", "<u8"),  # NEAR or SEMANTIC
    ]
)
"""A verified pair, also as a record of EDGE_WORDS words."""
EDGE_WORDS = EDGE.itemsize // 8


def write_sets(path: Path, rows: Ints, ngram: int, out: Path) -> Ints:
    """Write the shingle sets of the texts at the (ascending) rows of a part as raw uint64; return their offsets."""
    sizes, first, done = [np.zeros(1, np.int64)], 0, 0
    with out.open("wb") as file:
        for batch in iter_documents(path, ["text"], rows=512) if len(rows) else ():
            end = int(np.searchsorted(rows, first + len(batch)))
            if end > done:
                texts = batch.column("text").take(rows[done:end] - first)
                sets, offsets = shingle(columns.from_arrow(texts), n=ngram, sets=True)
                sets.tofile(file)
                sizes.append(np.diff(offsets))
            first, done = first + len(batch), end
    return np.cumsum(np.concatenate(sizes))


class SetFiles:
    """The sets that `write_sets` wrote for every part, found by document."""

    def __init__(self, parts: Parts, stems: list[Path]) -> None:
        self._parts = parts
        self._elements = [np.memmap(p, np.uint64, "r") if p.stat().st_size else np.empty(0, np.uint64)
                          for p in (s.with_name(s.name + ".sets") for s in stems)]  # fmt: skip
        self._elements = [e.view(np.ndarray) for e in self._elements]
        self._offsets = [np.load(s.with_name(s.name + ".offsets.npy"), mmap_mode="r") for s in stems]
        # An index holds the sets of all its documents, and needs no list of them.
        self._rows = [None if p.is_indexed else np.load(s.with_name(s.name + ".setrows.npy"), mmap_mode="r")
                      for p, s in zip(parts, stems)]  # fmt: skip

    def spans(self, documents: Words) -> tuple[Ints, Ints, Ints]:
        """Where the sets lie: part, first element, number of elements of each."""
        part = self._parts.part_of(documents)
        begin, size = np.empty(len(documents), np.int64), np.empty(len(documents), np.int64)
        for p in np.unique(part).tolist():
            here = np.flatnonzero(part == p)
            at = documents[here].astype(np.int64) - self._parts[p].first
            if (rows := self._rows[p]) is not None:
                at = np.searchsorted(rows, at)
            begin[here] = self._offsets[p][at]
            size[here] = self._offsets[p][at + 1] - begin[here]
        return part, begin, size

    def load(self, documents: Words) -> Sets:
        """The sets of some documents, one after another."""
        part, begin, size = self.spans(documents)
        found = [self._elements[p][b : b + n] for p, b, n in zip(part.tolist(), begin.tolist(), size.tolist())]
        offsets = np.zeros(len(documents) + 1, np.int64)
        np.cumsum(size, out=offsets[1:])
        return np.concatenate([np.empty(0, np.uint64), *found]), offsets


def similarity(pairs: Words, sets: SetFiles, config: DedupConfig) -> npt.NDArray[np.float64]:
    """What decides about each pair (worse document, better document): exact Jaccard, or containment in the better."""
    measure = jaccard if config.verify == "jaccard" else containment
    result = np.empty(len(pairs))
    order = np.lexsort([pairs[:, 0], pairs[:, 1]])  # pairs with one better document side by side
    for chunk in _chunks(order, pairs, sets):
        documents, local = np.unique(pairs[chunk], return_inverse=True)
        loaded = sets.load(documents)
        result[chunk] = measure(loaded, loaded, np.ascontiguousarray(local.reshape(-1, 2).astype(np.int64)))
    return result


def _chunks(order: Ints, pairs: Words, sets: SetFiles) -> Iterator[Ints]:
    sizes = sum(sets.spans(pairs[order, side])[2] for side in (0, 1))
    chunk = np.cumsum(sizes) // CHUNK
    edges = np.flatnonzero(np.diff(chunk)) + 1
    yield from (c for c in np.split(order, edges) if len(c))


def edges_of(records: Words) -> npt.NDArray[Any]:
    """Records of EDGE_WORDS words as EDGE."""
    return np.ascontiguousarray(records).view(EDGE).reshape(-1)


def edges_records(edges: npt.NDArray[Any]) -> Words:
    """EDGE as records of EDGE_WORDS words."""
    return np.ascontiguousarray(edges).view(np.uint64).reshape(-1, EDGE_WORDS)
