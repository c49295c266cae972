"""The dedup stage: of documents that are the same, or nearly, one stays, and the ledger says which and why.

    rows       each part: hash, length, words, quality, source; band keys of the signature      one pass over all texts
    suspects -> digests -> exact      equal hashes, equal digests, the copy to keep
    bands -> pairs                    documents that agree on a band; all bands joined
    sets -> verify                    shingle sets of documents in pairs, exact Jaccard of each pair
    near                              who goes because of whom
    documents  each part: what stays, and the ledger

Per document 68 bytes and the band keys of one band are in memory, never a text; the result is a function of the
documents, their parts and the settings, not of ranks, threads or instruction sets.
"""

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.dedup import exact, near, survivors
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.jaccard import jaccard
from fasttrain.dedup.rows import Ints, Rows, make_rows, read_rows, save
from fasttrain.formats import ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import PartWriter, Stage, documents_bytes

log = logging.getLogger("fasttrain.dedup")
PHASE = "documents"


def run(stage: Stage, config: DedupConfig) -> Report | None:
    """Body of the stage: remove copies from the documents of the first input; `stage.extra` holds the figures.

    Ledger: reason `exact` or `near`, score the exact Jaccard, evidence the document that stayed (doc_id, source,
    origin) and, for near ones, the bands that proposed the pair.
    """
    parts = stage.input_parts()
    reports = stage.map_parts("rows", parts, partial(make_rows, config=config), output=False)
    work = _Work(stage, config, parts, [r.extra for r in reports])
    work.find_exact()
    if config.fuzzy:
        work.find_near()
    removed = work.settle()
    stage.map_parts(
        PHASE, list(enumerate(parts)), partial(_write_part, removed), label="dedup", key=lambda item: item[0]
    )
    stage.extra.update(removed.extra)
    for source in removed.extra["alarms"]:
        figures = removed.extra["sources"][source]
        log.warning("dedup: source %r loses %d of %d documents", source, figures["removed"], figures["documents"])
    stage.on_root(lambda: shutil.rmtree(stage.folder / "sets", ignore_errors=True))  # as large as the texts in pairs
    return None


class _Work:
    """The phases between the rows and the removal. Everything between phases lies in files, so that a rank that was not
    there when a phase ran can go on from it."""

    def __init__(self, stage: Stage, config: DedupConfig, parts: list[Path], extras: list[dict[str, Any]]) -> None:
        self.stage, self.config, self.parts, self.extras = stage, config, parts, extras
        self.by_source = config.scope == "source"
        self._rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        if self._rows is None:
            self._rows = read_rows(self.stage.folder / "rows", self.extras)
        return self._rows

    def load(self, phase: str, suffix: str, index: int = 0) -> npt.NDArray[Any]:
        path = self.stage.folder / phase / f"part-{index:05d}{suffix}"
        if suffix.endswith(".npy"):
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
            return array
        return np.memmap(path, np.uint64, "r") if path.stat().st_size else np.empty(0, np.uint64)

    def joined(self, phase: str, suffix: str, empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The arrays of all parts of a phase, one after another."""
        return np.concatenate([empty, *(self.load(phase, suffix, i) for i in range(len(self.parts)))])

    def once(self, phase: str, work: Any) -> dict[str, Any]:
        """A phase of one part: what only one rank can do."""
        (report,) = self.stage.map_parts(phase, [0], lambda _, writer: work(writer), output=False)
        return report.extra

    def find_exact(self) -> None:
        def suspects(writer: PartWriter) -> None:
            none = np.empty(0, np.int64)
            save(writer, ".ids.npy", exact.suspects(self.rows, by_source=self.by_source) if self.config.exact else none)

        def digests(item: tuple[int, Path], writer: PartWriter) -> None:
            rows = self.rows.local(np.asarray(self.load("suspects", ".ids.npy")), item[0])
            save(writer, ".digests.npy", exact.digests(item[1], rows))

        def settle(writer: PartWriter) -> None:
            rank = self.rows.rank(self.config)
            ids = np.asarray(self.load("suspects", ".ids.npy"))
            found = self.joined("digests", ".digests.npy", np.empty((0, 32), np.uint8))
            save(writer, ".rank.npy", rank)
            save(writer, ".removed.npy", exact.removals(self.rows, ids, found, rank, by_source=self.by_source))

        self.once("suspects", suspects)
        self.stage.map_parts("digests", list(enumerate(self.parts)), digests, key=lambda item: item[0], output=False)
        self.once("exact", settle)

    def find_near(self) -> None:
        def band(b: int, writer: PartWriter) -> None:
            rank = self.load("exact", ".rank.npy")
            every = range(len(self.parts))
            part = np.ones(len(rank), bool)
            part[self.load("exact", ".removed.npy")[:, 0]] = False
            part &= self.rows.table["words"] >= self.config.min_words
            documents = np.flatnonzero(part)
            keys = np.concatenate([np.empty(0, np.uint64), *(self.load("rows", ".bands.npy", i)[b] for i in every)])
            scope = self.rows.scope_of_source if self.by_source else np.zeros(len(rank), np.int64)
            pairs, counts = near.propose(
                keys[documents], documents, rank[documents], scope[documents], self.config.max_bucket
            )
            save(writer, ".pairs.npy", pairs)
            writer.extra = counts

        def join(writer: PartWriter) -> None:
            found = [np.asarray(self.load("bands", ".pairs.npy", b)) for b in range(self.config.bands)]
            pairs, bits = near.merge(found, len(self.rows))
            save(writer, ".pairs.npy", pairs)
            save(writer, ".bits.npy", bits)
            save(writer, ".documents.npy", np.unique(pairs))

        def sets(item: tuple[int, Path], writer: PartWriter) -> None:
            rows = self.rows.local(np.asarray(self.load("pairs", ".documents.npy")), item[0])
            save(
                writer,
                ".offsets.npy",
                near.write_sets(item[1], rows, self.config.ngram, writer.path(".sets", len(rows))),
            )

        def verify(part: int, writer: PartWriter) -> None:
            pairs = self.load("pairs", ".pairs.npy")
            first, last = np.searchsorted(pairs[:, 0], self.rows.starts[part : part + 2])
            save(writer, ".jaccard.npy", self.verify(part, np.asarray(pairs[first:last])))

        reports = self.stage.map_parts("bands", range(self.config.bands), band, output=False)
        self.buckets = {
            "buckets": sum(r.extra["buckets"] for r in reports),
            "oversized_buckets": sum(r.extra["oversized_buckets"] for r in reports),
            "documents_in_oversized_buckets": sum(r.extra["documents_in_oversized_buckets"] for r in reports),
            "largest_bucket": max(r.extra["largest_bucket"] for r in reports),
        }
        self.once("pairs", join)
        self.stage.map_parts("sets", list(enumerate(self.parts)), sets, key=lambda item: item[0], output=False)
        self.stage.map_parts("verify", range(len(self.parts)), verify, output=False)

    def verify(self, part: int, pairs: Ints) -> npt.NDArray[np.float64]:
        """Exact Jaccard of pairs whose worse document lies in `part`; one part of better documents at a time."""
        documents = np.asarray(self.load("pairs", ".documents.npy"))
        edges = np.searchsorted(documents, self.rows.starts)
        result = np.empty(len(pairs))
        other = self.rows.part_of(pairs[:, 1])
        mine = (self.load("sets", ".sets", part), np.asarray(self.load("sets", ".offsets.npy", part)))
        for p in np.unique(other).tolist():
            here = np.flatnonzero(other == p)
            local = np.searchsorted(documents, pairs[here]) - np.array([edges[part], edges[p]])
            theirs = (self.load("sets", ".sets", p), np.asarray(self.load("sets", ".offsets.npy", p)))
            result[here] = jaccard(_plain(mine), _plain(theirs), np.ascontiguousarray(local))
        return result

    def settle(self) -> survivors.Removed:
        """Who goes because of whom, with the figures; the same on every rank."""

        def decide(writer: PartWriter) -> None:
            pairs, bits, similarity = np.empty((0, 2), np.int64), np.empty(0, np.uint64), np.empty(0)
            if self.config.fuzzy:
                pairs, bits = np.asarray(self.load("pairs", ".pairs.npy")), np.asarray(self.load("pairs", ".bits.npy"))
                similarity = self.joined("verify", ".jaccard.npy", similarity)
            copies = np.asarray(self.load("exact", ".removed.npy"))
            rank = np.asarray(self.load("exact", ".rank.npy"))
            table = survivors.decide(self.config, rank, copies, pairs, bits, similarity)
            save(writer, ".removed.npy", table)
            buckets = self.buckets if self.config.fuzzy else {}
            origins = survivors.origins(self.rows, self.parts, table)
            writer.write(origins, name="origins")
            writer.extra = survivors.figures(self.config, self.rows, table, origins, similarity, buckets)

        extra = self.once("near", decide)
        return survivors.Removed(
            np.asarray(self.load("near", ".removed.npy")),
            pq.read_table(self.stage.folder / "near" / "part-00000.origins.parquet"),
            self.rows,
            extra,
        )


def _plain(sets: tuple[npt.NDArray[Any], Ints]) -> tuple[npt.NDArray[np.uint64], Ints]:
    return np.asarray(sets[0]).view(np.ndarray), sets[1]


def _write_part(removed: survivors.Removed, item: tuple[int, Path], writer: PartWriter) -> None:
    part, path = item
    first = int(removed.rows.starts[part])
    for batch in iter_documents(path):
        n = len(batch)
        goes = removed.of(first, n)
        keep = np.ones(n, bool)
        keep[list(goes)] = False
        kept = batch.filter(pa.array(keep))
        writer.write(kept)
        writer.decide(
            "dedup",
            batch,
            decision=[ledger.KEPT if k else ledger.DROPPED for k in keep.tolist()],
            reason=[goes[i].reason if i in goes else "" for i in range(n)],
            score=[goes[i].jaccard if i in goes else None for i in range(n)],
            evidence=[goes[i].evidence if i in goes else "{}" for i in range(n)],
        )
        writer.bytes_in += documents_bytes(batch)
        writer.bytes_out += documents_bytes(kept)
        first += n
