"""Ranks of passages: by the rank of their document, then by their place in it.

    fuzzy-order     each range of documents by rank: how many passages the documents before have

A passage has a number, its place in the input, by which its text is found, and a rank, which depends on no order or
parts of the input. Of each document lie on disk the passages before it by rank, and in the files of its part those
before it by row; one leads to the other.
"""

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.exchange import Ints, Words, raw
from fasttrain.dedup.passages_documents import Documents
from fasttrain.dedup.rows import Parts
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage

BLOCK = 1 << 16
PHASE = "fuzzy-order"


class FuzzyOrder:
    """Ranks and numbers of passages."""

    def __init__(self, stage: Stage, documents: Documents, passages: Parts) -> None:
        """Run the phase.

        Args:
            passages: those of each part, with `.firsts`: (documents + 1,) the passages before each of its documents.
        """
        self._documents, self._passages = documents, passages
        ranges = documents.order.ranges

        def count(r: int, writer: PartWriter) -> None:
            total = 0
            with writer.path(".before", len(ranges[r])).open("wb") as file:
                for begin in range(0, len(ranges[r]), BLOCK):
                    _, first, stop = self._bounds(ranges[r][begin : begin + BLOCK])
                    before = total + np.cumsum(stop - first)
                    (before - (stop - first)).tofile(file)
                    total = int(before[-1])
            writer.extra = {"passages": total}

        reports = stage.map_parts(PHASE, range(len(ranges)), count, output=False)
        self._starts = np.cumsum([0, *(r.extra["passages"] for r in reports)])  # rank of the first passage of a range
        stems = [stage.folder / PHASE / f"part-{r:05d}.before" for r in range(len(ranges))]
        self._before: list[Ints] = [raw(stem, np.int64) for stem in stems]

    def firsts(self, i: int) -> Ints:
        """(documents + 1,) of a part, by row, the passages before."""
        found: Ints = self._passages[i].map(".firsts", np.int64)
        return found

    def _bounds(self, documents: npt.NDArray[np.int64]) -> tuple[Ints, Ints, Ints]:
        """Of documents by number: their part, the first of their passages in it, and the end of them."""
        parts = self._documents.parts
        part, first, stop = parts.part_of(documents), *np.empty((2, len(documents)), np.int64)
        for i in np.unique(part).tolist():
            here = np.flatnonzero(part == i)
            row, firsts = documents[here] - parts[i].first, self.firsts(i)
            first[here], stop[here] = firsts[row], firsts[row + 1]
        return part, first, stop

    def ranks(self, i: int, begin: int, end: int, documents: Words) -> Words:
        """The ranks of passages [begin, end) of a part, whose documents have these ranks."""
        firsts, at = self.firsts(i), np.arange(begin, end)
        place = at - firsts[np.searchsorted(firsts, at, side="right") - 1]
        document, starts = documents.astype(np.int64), self._documents.order.starts
        for r in np.unique(of := np.searchsorted(starts, document, side="right") - 1).tolist():
            here = np.flatnonzero(of == r)
            place[here] += self._starts[r] + self._before[r][document[here] - starts[r]]
        return place.astype(np.uint64)

    def _found(self, ranks: Words) -> tuple[Ints, Ints]:
        """The rank of each passage's document, and the passage's place in it."""
        at = ranks.astype(np.int64)
        document, place = np.empty_like(at), np.empty_like(at)
        for r in np.unique(of := np.searchsorted(self._starts, at, side="right") - 1).tolist():
            here = np.flatnonzero(of == r)
            local = at[here] - self._starts[r]
            found = np.searchsorted(self._before[r], local, side="right") - 1
            document[here] = found + self._documents.order.starts[r]
            place[here] = local - self._before[r][found]
        return document, place

    def documents(self, ranks: Words) -> Ints:
        """The ranks of the documents of passages."""
        return self._found(ranks)[0]

    def numbers(self, ranks: Words) -> Words:
        """The numbers of passages."""
        document, place = self._found(ranks)
        rows = self._documents.order.documents(document.astype(np.uint64)).astype(np.int64)
        part, first, _ = self._bounds(rows)
        return (self._passages.starts[part] + first + place).astype(np.uint64)
