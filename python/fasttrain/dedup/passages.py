"""The passages stage: lines, paragraphs and byte strings that repeat are cut out of documents; one copy stays.

    names                                   each part: doc_ids and origins
    fuzzy-units ... fuzzy                   near copies of paragraphs or lines (fuzzy.py)
    units scopes repeats                    lines, paragraphs and runs of sentences (lines.py)
    anchors twice surrounds sorted          exact substrings (substring.py)
    documents                               each part: the texts without the cuts, and the ledger

What is earlier is decided by the order of documents in the input, so the first copy stays. Everything is found in the
text as it came in, so every cut points at an earlier place, and the earliest of all copies is never cut (but with
`keep_line = "none"`). Near copies go first, and what they lose does not exist for the exact rules: no exact cut points
there, so that a near copy never stands for an exact one. Between phases all lies on disk, partitioned by key
(exchange.py). Without a rule the input's files are handed on as they are.
"""

import shutil
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core.errors import ConfigError
from fasttrain.dedup import fuzzy, lines, substring
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, raw, save, spread
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.passages_config import BYTES_PER_BYTE, CUT, SUBSTRING, FuzzyPassages, PassagesConfig
from fasttrain.dedup.passages_figures import figures
from fasttrain.dedup.passages_output import write_part
from fasttrain.dedup.suffix_array import LIMIT
from fasttrain.dedup.winnow import winnow
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.rewrite import hand_on
from fasttrain.formats.stage import Stage
from fasttrain.text import columns

LARGE = ("units", "scopes", "repeats", "anchors", "twice", "surrounds", "sorted", "names", *fuzzy.LARGE)
TOP_LINES = 200  # of a partition
ROWS = 1024  # documents read at once


def run(stage: Stage, config: PassagesConfig) -> Report | None:
    """Body of the stage: cut what repeats out of the documents of the first input; `stage.extra` holds the figures.

    Ledger: `edited`, reason `passages:` and a rule (RULES; several are joined by +), or `dropped`,
    `passages:too_short`; the score is the share of the text that was cut. The evidence names the document that the
    longest cut copies, and for each near copy the place that stays and the exact similarity.
    """
    if not config.is_on:
        return _hand_on(stage)
    work = _Work(stage, config)
    work.write_names()
    if config.fuzzy is not None:
        work.find_fuzzy(config.fuzzy)
    if config.lines or config.paragraphs or config.spans:
        work.find_lines()
    if config.substring:
        work.find_substrings()
    work.write()
    stage.on_root(lambda: _remove([stage.folder / phase for phase in LARGE]))
    return None


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _hand_on(stage: Stage) -> Report:
    before = stage.inputs[0][1]
    rows = {stage.inputs[0][0] / f.path: f.rows for f in before.files}

    paths = stage.input_parts()
    stage.map_parts("documents", paths, lambda path, writer: hand_on(path, writer, rows[path]), key=lambda p: p.name)
    size = before.report.bytes_out
    return Report(kept=sum(rows[p] for p in paths), bytes_in=size, bytes_out=size)


class _Work:
    """The phases; everything between them lies in files."""

    def __init__(self, stage: Stage, config: PassagesConfig) -> None:
        self.stage, self.config = stage, config
        self.paths = stage.input_parts()
        rows = {stage.inputs[0][0] / f.path: f.rows for f in stage.inputs[0][1].files}
        self.counts = [rows[p] for p in self.paths]
        self.first = np.cumsum([0, *self.counts])
        total = int(self.first[-1])
        self.P = max(1, min(64, -(-total // 16384)), -(-total * 16 // config.memory_records))
        self.limit = config.memory_records
        self.found: list[tuple[str, int]] = []  # phases that wrote cuts, and their parts
        self.extra: dict[str, Any] = {}

    def gather(self, phase: str, count: int, suffix: str, width: int) -> Gather:
        return Gather([self.stage.folder / phase / f"part-{i:05d}" for i in range(count)], suffix, width)

    def part_of(self, documents: npt.NDArray[Any]) -> Ints:
        return np.searchsorted(self.first, documents.astype(np.int64), side="right") - 1

    def each_part(self, phase: str, work: Any, output: bool = False) -> list[PartReport]:
        return self.stage.map_parts(phase, range(len(self.paths)), work, output=output)

    def write_names(self) -> None:
        def names(i: int, writer: PartWriter) -> None:
            ids, origins, sources = [b""], [b""], list[str]()
            for batch in iter_documents(self.paths[i], ["doc_id", "origin", "source"]):
                ids += batch.column("doc_id").to_pylist()
                origins += [o.encode() for o in batch.column("origin").to_pylist()]
                sources += batch.column("source").to_pylist()
            save(writer, ".ids.npy", np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16))
            save(writer, ".ends.npy", np.cumsum([len(o) for o in origins]))
            writer.path(".origins", 0).write_bytes(b"".join(origins))
            known = sorted(set(sources))
            save(writer, ".sources.npy", np.searchsorted(np.array(known, object), np.array(sources, object)))
            writer.extra = {"sources": known}

        reports = self.each_part("names", names)
        self.sources = [r.extra["sources"] for r in reports]
        self.all_sources = sorted({s for known in self.sources for s in known})

    def _names(self, i: int, suffix: str) -> npt.NDArray[Any]:
        path = self.stage.folder / "names" / f"part-{i:05d}{suffix}"
        return np.asarray(np.load(path, mmap_mode="r"))

    def name(self, document: int) -> tuple[str, str]:
        """doc_id in hex and origin."""
        i = int(self.part_of(np.array([document]))[0])
        row = document - int(self.first[i])
        begin, end = self._names(i, ".ends.npy")[row : row + 2].tolist()
        origins = raw(self.stage.folder / "names" / f"part-{i:05d}.origins", np.uint8)
        return self._names(i, ".ids.npy")[row].tobytes().hex(), origins[begin:end].tobytes().decode()

    def source_numbers(self, documents: Ints) -> Ints:
        """A number of each document's source, the same in every part."""
        found, part = np.empty(len(documents), np.int64), self.part_of(documents)
        for i in np.unique(part).tolist():
            some = part == i
            known = np.searchsorted(np.array(self.all_sources, object), np.array(self.sources[i], object))
            found[some] = known[self._names(i, ".sources.npy")[documents[some] - int(self.first[i])]]
        return found

    def find_fuzzy(self, config: FuzzyPassages) -> None:
        search = fuzzy.Search(self.stage, self.config, config, self.paths, self.first, self.P)
        self.extra["fuzzy"] = search.find(lambda document: self.name(document)[1])
        self.found.append(("fuzzy", self.P))

    def fuzzy_cuts(self, i: int) -> Words:
        """(n, CUT) what goes of a part as near copies, ascending by document and place."""
        if self.config.fuzzy is None:
            return np.empty((0, CUT), np.uint64)
        found = self.gather("fuzzy", self.P, ".cuts", CUT).read(i)
        return found[np.lexsort((found[:, 1], found[:, 0]))]

    def find_lines(self) -> None:
        config, num_parts = self.config, len(self.paths)

        def units(i: int, writer: PartWriter) -> None:
            done, counts, gone = int(self.first[i]), Counter[int](), self.fuzzy_cuts(i)
            with (
                Scatter(writer, ".units", 4, self.P, self.limit) as out,
                Scatter(writer, ".scopes", 2, self.P, self.limit) as scopes,
            ):
                for batch in iter_documents(self.paths[i], ["text", "source", "origin"], rows=ROWS):
                    cuts = _cuts_of(gone, done, columns.from_arrow(batch.column("text")))
                    for records in lines.units(batch, done, config, cuts):
                        out.add(records, spread(records[:, 0], self.P))
                    counts.update(lines.domain_counts(batch, config))
                    done += len(batch)
                found = np.array(sorted(counts.items()), np.uint64).reshape(-1, 2)
                scopes.add(found, spread(found[:, 0], self.P))

        def add(p: int, writer: PartWriter) -> None:
            found = self.gather("units", num_parts, ".scopes", 2).read(p)
            keys, at = np.unique(found[:, 0], return_inverse=True)
            save(writer, ".scopes.npy", np.stack([keys, np.bincount(at, found[:, 1], len(keys)).astype(np.uint64)], 1))

        def repeats(p: int, writer: PartWriter) -> None:
            top: list[tuple[int, int, int, int]] = []
            with Scatter(writer, ".cuts", CUT, num_parts, self.limit) as out:
                for records in self.gather("units", num_parts, ".units", 4).pieces(p, 0, self.limit):
                    found, common = lines.repeats(records, self._scopes, config)
                    zero, one = np.zeros(len(found), np.uint64), np.ones(len(found))
                    out.add(records_of(*found.T[:4], zero, found[:, 4], one), self.part_of(found[:, 0]))
                    top = sorted(top + common, key=lambda x: (-x[0], x[2], x[3]))[:TOP_LINES]
            writer.extra = {"lines": top}

        self.each_part("units", units)
        self.stage.map_parts("scopes", range(self.P), add, output=False)
        reports = self.stage.map_parts("repeats", range(self.P), repeats, output=False)
        common = [tuple(line) for r in reports for line in r.extra["lines"]]
        self.extra["lines"] = sorted(common, key=lambda x: (-x[0], x[2], x[3]))
        self.found.append(("repeats", self.P))

    @cached_property
    def _scopes(self) -> tuple[npt.NDArray[np.uint64], Ints]:
        folder = self.stage.folder / "scopes"
        found = np.concatenate([np.load(folder / f"part-{p:05d}.scopes.npy") for p in range(self.P)])
        found = found[np.argsort(found[:, 0])]
        return found[:, 0], found[:, 1].astype(np.int64)

    def find_substrings(self) -> None:
        config, num_parts = self.config, len(self.paths)
        k, w = config.anchor

        def anchors(i: int, writer: PartWriter) -> None:
            done, gone = int(self.first[i]), self.fuzzy_cuts(i)
            with Scatter(writer, ".anchors", 3, self.P, self.limit) as out:
                for batch in iter_documents(self.paths[i], ["text", "source"], rows=ROWS):
                    texts = columns.from_arrow(batch.column("text"))
                    lines.check_sizes(texts)
                    # The texts fall into segments where near copies go; no window reaches across.
                    cuts = _cuts_of(gone, done, texts)
                    edges = np.sort(np.concatenate([texts.offsets, *cuts]))
                    segments = columns.TextColumn(texts.data, edges)
                    hashes, segment, begin = winnow(segments, k, w)
                    begin += edges[segment]
                    text = np.searchsorted(texts.offsets, begin, side="right") - 1
                    some = lines.takes_part(batch, config)[text] & ~lines.overlapping(begin, begin + 1, cuts)
                    hashes, segment, begin, text = hashes[some], segment[some], begin[some], text[some]
                    low, high = substring.reach(segments, segment, begin, config)
                    found = records_of(hashes, text + done, lines.spans_of(texts, text, low, high))
                    out.add(found, spread(found[:, 0], self.P))
                    done += len(batch)

        def twice(p: int, writer: PartWriter) -> None:
            count = size = 0
            with Scatter(writer, ".twice", 3, num_parts, self.limit) as out:
                for records in self.gather("anchors", num_parts, ".anchors", 3).pieces(p, 0, self.limit):
                    found = substring.twice(records)
                    out.add(found, self.part_of(found[:, 1]))
                    count += len(found)
                    low, high = lines.ends_of(found[:, 2])
                    size += int((high - low).sum())
            writer.extra = {"anchors": count, "bytes": size}

        self.each_part("anchors", anchors)
        reports = self.stage.map_parts("twice", range(self.P), twice, output=False)
        total = sum(r.extra["anchors"] for r in reports)
        blocks = max(1, -(-sum(r.extra["bytes"] for r in reports) * BYTES_PER_BYTE // config.memory_bytes))

        def surrounds(i: int, writer: PartWriter) -> None:
            found = self.gather("twice", self.P, ".twice", 3).read(i)
            found = found[np.lexsort((found[:, 2], found[:, 1]))]
            done, written = int(self.first[i]), 0
            with writer.path(".text", 0).open("wb") as file, Scatter(writer, ".pieces", 4, blocks, self.limit) as out:
                for batch in iter_documents(self.paths[i], ["text"], rows=ROWS):
                    texts = columns.from_arrow(batch.column("text"))
                    here = found[slice(*np.searchsorted(found[:, 1], np.array([done, done + len(batch)], np.uint64)))]
                    written += _surrounds(here, done, texts, blocks, file, written, out)
                    done += len(batch)

        def sort(t: int, writer: PartWriter) -> None:
            pieces = self.gather("surrounds", num_parts, ".pieces", 4).read(t)
            pieces = pieces[np.lexsort((pieces[:, 1], pieces[:, 0]))]
            document, begin, end, where = pieces.astype(np.int64).T
            sizes, part = end - begin, self.part_of(document)
            if (size := int(sizes.sum())) > LIMIT:
                raise ConfigError(
                    f"passages: one repeated string has surroundings of {size} bytes, more than {LIMIT} that can be "
                    "sorted; raise passages.min_bytes (or min_tokens) or exempt the source"
                )
            text, at = np.empty(size, np.uint8), 0
            maps = {i: raw(self.stage.folder / "surrounds" / f"part-{i:05d}.text", np.uint8) for i in np.unique(part)}
            for i, source, length in zip(part.tolist(), where.tolist(), sizes.tolist()):
                text[at : at + length] = maps[i][source : source + length]
                at += length
            scope = self.source_numbers(document) if config.substring_scope == "source" else None
            mine = (lambda hashes: spread(hashes, blocks) == t) if blocks > 1 else None
            found = substring.repeated(text, sizes, document, begin, config, scope, mine)
            rule = np.full(len(found), SUBSTRING, np.uint64)
            with Scatter(writer, ".cuts", CUT, num_parts, self.limit) as out:
                out.add(records_of(*found.T, rule, np.ones(len(found))), self.part_of(found[:, 0]))
            writer.extra = {"bytes": size}

        self.each_part("surrounds", surrounds)
        sorts = self.stage.map_parts("sorted", range(blocks), sort, output=False)
        self.extra["substring"] = {
            "anchors_twice": total,
            "sorted_bytes": sum(r.extra["bytes"] for r in sorts),
            "largest_sort_bytes": max(r.extra["bytes"] for r in sorts),
            "sorts": blocks,
        }
        self.found.append(("sorted", blocks))

    def write(self) -> None:
        def documents(i: int, writer: PartWriter) -> None:
            cuts = np.concatenate([self.gather(phase, count, ".cuts", CUT).read(i) for phase, count in self.found])
            write_part(self.paths[i], int(self.first[i]), cuts, self.name, writer, self.config)

        reports = self.each_part("documents", documents, output=True)
        extra = [r.extra for r in reports]
        self.stage.extra.update(self.stage.on_root(lambda: figures(self.config, extra, self.extra, self.name)))


def _cuts_of(cuts: Words, first: int, texts: columns.TextColumn) -> tuple[Ints, Ints]:
    """Where the (ascending) cuts of a batch, whose first document is `first`, begin and end in `texts.data`."""
    here = cuts[slice(*np.searchsorted(cuts[:, 0], np.array([first, first + len(texts)], np.uint64)))].astype(np.int64)
    start = texts.offsets[here[:, 0] - first]
    return start + here[:, 1], start + here[:, 2]


def _surrounds(
    found: Words, first: int, texts: columns.TextColumn, blocks: int, file: Any, written: int, out: Scatter
) -> int:
    """Write the text around the anchors of a batch once, and where each block's pieces of it lie. Bytes written."""
    if len(found) == 0:
        return 0
    document, (low, high) = found[:, 1].astype(np.int64), lines.ends_of(found[:, 2])
    whole = substring.surrounds(document, low, high)
    starts = texts.offsets[whole[0] - first]
    for begin, end in zip((starts + whole[1]).tolist(), (starts + whole[2]).tolist()):
        file.write(texts.data[begin:end].data)
    lengths = whole[2] - whole[1]
    base = written + np.cumsum(lengths) - lengths
    block = spread(found[:, 0], blocks)
    order = np.argsort(block, kind="stable")
    edges = np.searchsorted(block[order], np.arange(blocks + 1))
    stride = int(np.diff(texts.offsets).max()) + 1
    for t in np.unique(block).tolist():
        some = order[edges[t] : edges[t + 1]]
        pieces = substring.surrounds(document[some], low[some], high[some])
        # The interval of `whole` that holds a piece: the last that begins at or before it.
        at = np.searchsorted(whole[0] * stride + whole[1], pieces[0] * stride + pieces[1], side="right") - 1
        where = base[at] + pieces[1] - whole[1][at]
        out.add(records_of(*pieces, where), np.full(len(where), t, np.int64))
    return int(lengths.sum())
