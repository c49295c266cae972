"""Paragraphs (or lines) that are nearly those of an earlier document: the search for near copies, over passages.

    fuzzy-units   each part: document, span and scope of every passage that is long enough; its band keys
    bands pairs merge sets verify (open-*) resolve      near_search.py and clustering.py, over passages
    fuzzy         each partition: the cuts, each with the earliest survivor that it is verified against

A passage's number is its place in the input and its rank, so the earlier one stays. Passages of one document are not
compared: refrains and tables are made of them. What goes is a direct near copy of a passage that stays.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup import clustering, lines
from fasttrain.dedup.config import detection
from fasttrain.dedup.exchange import Ints, Scatter, Words, raw, together
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.line_hashes import line_hashes
from fasttrain.dedup.minhash import minhash
from fasttrain.dedup.near_search import LARGE as NEAR_PHASES
from fasttrain.dedup.near_search import Items, NearSearch
from fasttrain.dedup.passages_config import CUT, FUZZY, FuzzyPassages, PassagesConfig
from fasttrain.dedup.rows import Part, Parts, band_keys
from fasttrain.dedup.verify import EDGE_WORDS, edges_of
from fasttrain.formats.document import iter_documents
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import shingle

ROWS = 1024  # documents read at once
BLOCK = 1 << 16
LARGE = ("fuzzy-units", *NEAR_PHASES, "merge", "verify", "fuzzy")
"""Phases whose files go when all is done."""


class Search:
    """The phases of one stage."""

    def __init__(self, stage: Stage, config: PassagesConfig, fuzzy: FuzzyPassages, paths: list[Path], first: Ints,
                 partitions: int) -> None:  # fmt: skip
        """`first`: number of the first document of each part. `partitions`: of passages."""
        self.stage, self.config, self.fuzzy, self.paths, self.first = stage, config, fuzzy, paths, first
        self.P = partitions
        self.dedup = fuzzy.search(config.scope, config.memory_records)

    def find(self, origin: Callable[[int], str]) -> dict[str, Any]:
        """Find the cuts, which go to `fuzzy/part-*.cuts` by the part of their document; return the figures."""
        reports = self.stage.map_parts("fuzzy-units", range(len(self.paths)), self._units, output=False)
        counts = [r.extra["units"] for r in reports]
        starts = np.cumsum([0, *counts]).tolist()
        folder = self.stage.folder / "fuzzy-units"
        self.parts = Parts(tuple(Part(folder / f"part-{i:05d}", starts[i], n, (), is_indexed=False)
                                 for i, n in enumerate(counts)))  # fmt: skip
        items = Items(
            self.parts,
            self._keys,
            lambda ranks: ranks,
            self._write_sets,
            lambda number: origin(int(self.units(np.array([number], np.uint64))[0, 0])),
            self._apart,
        )
        search = NearSearch(self.stage, self.dedup, items, self.P, self.P)
        found = search.find()
        total, limit = found["pairs"]["verified"], self.config.memory_records
        is_removed = clustering.removed(self.stage, lambda p: [search.edges(p)], self.P, total, starts[-1], limit)

        def cuts(p: int, writer: PartWriter) -> None:
            count = 0
            with Scatter(writer, ".cuts", CUT, len(self.paths), limit) as out:
                for (records,) in together([(lambda: [search.edges(p)], 0, EDGE_WORDS)], limit):
                    made = self._cuts(edges_of(records), is_removed)
                    out.add(made, np.searchsorted(self.first, made[:, 0].astype(np.int64), side="right") - 1)
                    count += len(made)
            writer.extra = {"cuts": count}

        reports = self.stage.map_parts("fuzzy", range(self.P), cuts, output=False)
        return {
            "unit": self.fuzzy.unit,
            "units": starts[-1],
            "cuts": sum(r.extra["cuts"] for r in reports),
            "threshold": self.fuzzy.threshold,
            "proposed_at_threshold": round(detection(self.fuzzy.threshold, self.dedup), 4),
            **found,
        }

    def _units(self, i: int, writer: PartWriter) -> None:
        done, count = int(self.first[i]), 0
        with writer.path(".units", 0).open("wb") as units, writer.path(".bands", 0).open("wb") as bands:
            for batch in iter_documents(self.paths[i], ["text", "source", "origin"], rows=ROWS):
                texts = columns.from_arrow(batch.column("text"))
                lines.check_sizes(texts)
                of, begin, end = lines.line_spans(texts) if len(texts) else (np.empty(0, np.int64),) * 3
                if self.fuzzy.unit == "paragraph":
                    of, begin, end = lines.paragraph_spans(texts, of, begin, end)
                some = lines.takes_part(batch, self.config)[of]
                some[some] = line_hashes(texts.data, begin[some], end[some])[1] >= self.fuzzy.min_words
                of, begin, end = of[some], begin[some], end[some]
                scope = lines.scope_keys(lines.scope_names(batch, self.config.scope))[of]
                records_of(of + done, lines.spans_of(texts, of, begin, end), scope).tofile(units)
                for at in range(0, len(of), BLOCK):
                    sig = minhash(gathered(texts, begin[at : at + BLOCK], end[at : at + BLOCK]), ngram=self.dedup.ngram,
                                  num_hashes=self.dedup.bands * self.dedup.rows, seed=self.dedup.seed)  # fmt: skip
                    band_keys(sig, self.dedup.bands).tofile(bands)
                done, count = done + len(batch), count + len(of)
        writer.extra = {"units": count}

    def _mapped(self, i: int) -> Words:
        """(n, 3) document, begin << 32 | end, scope of the passages of a part."""
        found: Words = self.parts[i].map(".units", np.uint64, (-1, 3))
        return found

    def _keys(self, i: int) -> Iterator[tuple[Words, Words | None, Words]]:
        part, units = self.parts[i], self._mapped(i)
        keys = raw(part.stem.with_name(f"{part.stem.name}.bands"), np.uint64, (-1, self.dedup.bands))
        for begin in range(0, part.count, BLOCK):
            rank = np.arange(part.first + begin, part.first + min(begin + BLOCK, part.count)).astype(np.uint64)
            scope = None if self.dedup.scope == "global" else units[begin : begin + BLOCK, 2]
            yield keys[begin : begin + BLOCK], scope, rank

    def units(self, numbers: Words) -> Words:
        """(n, 3) document, begin << 32 | end, scope of some passages."""
        found = np.empty((len(numbers), 3), np.uint64)
        part = self.parts.part_of(numbers)
        for i in np.unique(part).tolist():
            here = np.flatnonzero(part == i)
            found[here] = self._mapped(i)[numbers[here].astype(np.int64) - self.parts[i].first]
        return found

    def _apart(self, pairs: Words) -> Words:
        """The pairs of different documents."""
        different: npt.NDArray[np.bool_] = self.units(pairs[:, 0])[:, 0] != self.units(pairs[:, 1])[:, 0]
        return pairs[different]

    def _write_sets(self, i: int, rows: Ints, out: Path) -> Ints:
        """As verify.write_sets, of the passages at these rows of the part."""
        units, sizes, done, first = self._mapped(i), [np.zeros(1, np.int64)], 0, int(self.first[i])
        with out.open("wb") as file:
            for batch in iter_documents(self.paths[i], ["text"], rows=ROWS) if len(rows) else ():
                texts, behind = columns.from_arrow(batch.column("text")), np.uint64(first + len(batch))
                # Rows ascend, and so do the documents of their passages.
                while count := int(np.searchsorted(units[rows[done : done + BLOCK], 0], behind)):
                    some = units[rows[done : done + count]]
                    start = texts.offsets[some[:, 0].astype(np.int64) - first]
                    begin, end = lines.ends_of(some[:, 1])
                    sets, offsets = shingle(gathered(texts, start + begin, start + end), n=self.dedup.ngram, sets=True)
                    sets.tofile(file)
                    sizes.append(np.diff(offsets))
                    done += count
                first += len(batch)
        return np.cumsum(np.concatenate(sizes))

    def _cuts(self, edges: npt.NDArray[Any], is_removed: npt.NDArray[np.bool_]) -> Words:
        """(n, CUT) of the worse passages that go: each with the earliest that stays of those it is verified against."""
        edges = edges[is_removed[edges["worse"].astype(np.int64)] & ~is_removed[edges["better"].astype(np.int64)]]
        edges = edges[np.lexsort([edges["better"], edges["worse"]])]
        edges = edges[np.flatnonzero(np.append(True, edges["worse"][1:] != edges["worse"][:-1])[: len(edges)])]
        gone, stays = self.units(edges["worse"]), self.units(edges["better"])
        begin, end = lines.ends_of(gone[:, 1])
        rule = np.full(len(edges), FUZZY, np.uint64)
        score = np.ascontiguousarray(edges["score"])
        return records_of(gone[:, 0], begin, end, stays[:, 0], lines.ends_of(stays[:, 1])[0], rule, score)


def gathered(texts: TextColumn, begins: Ints, ends: Ints) -> TextColumn:
    """Spans in places of `texts.data`, copied into a column of their own."""
    spans = zip(begins.tolist(), ends.tolist())
    data = b"".join([texts.data[begin:end].data for begin, end in spans])
    offsets = np.zeros(len(begins) + 1, np.int64)
    np.cumsum(ends - begins, out=offsets[1:])
    return TextColumn(np.frombuffer(data, np.uint8), offsets)
