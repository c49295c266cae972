"""The dedup stage: of documents that are the same, or nearly, one stays, and the ledger says which and why.

    rows       each part: hash, length, words, scope; band and policy keys; origins       one pass over all texts
    (policy) order ranks              the order of preference, sorted on disk
    suspects digests exact            equal hashes, equal digests, the copy to keep
    bands pairs merge sets verify     documents that agree on a band, exact similarity of each pair (near_search.py)
    (embeddings ... neighbours)       pairs close in meaning (semantic.py)
    (open-*) resolve near             who goes (clustering.py), and because of whom
    documents  each part: what stays, and the ledger
    (index)    each part: what later runs need to find copies of what stays

Between phases everything lies in the stage's folder, partitioned by key (exchange.py), so that every rank works in
every phase and none holds more than `memory_records` of its partition. Resident for all documents is one byte each, in
`resolve` and `near`. What is decided is a function of the documents and the settings, not of parts, their order, ranks,
threads or instruction sets.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup import clustering, exact, index, order, output, semantic
from fasttrain.dedup.config import DedupConfig, num_partitions
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, raw, spread, together
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.figures import figures
from fasttrain.dedup.near_search import LARGE as NEAR_PHASES
from fasttrain.dedup.near_search import Items, NearSearch
from fasttrain.dedup.order import Order
from fasttrain.dedup.rows import Part, Parts, check_scopes, make_rows, policy_width
from fasttrain.dedup.survivors import TABLE, TABLE_WORDS, decide
from fasttrain.dedup.verify import EDGE_WORDS, edges_of, write_sets
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.stage import Stage

log = logging.getLogger("fasttrain.dedup")
PHASE = "documents"
BLOCK = 1 << 16
LARGE = ("policy", *NEAR_PHASES, "embeddings", "vectors")  # phases whose files go when all is done


def run(stage: Stage, config: DedupConfig, base: Path = Path()) -> Report | None:
    """Body of the stage: remove copies from the documents of the first input; `stage.extra` holds the figures.

    Ledger: reason `exact`, `near` or `semantic`, score what was compared with the threshold, evidence the document that
    stayed (doc_id, source, origin) and, for near ones, the bands that proposed the pair. A document that stays for
    others says for how many in its `meta.copies`.
    """
    work = _Work(stage, config, base)
    work.write_rows()
    work.rank()
    if config.exact:
        work.find_exact()
    if config.fuzzy:
        work.find_near()
    if config.semantic is not None:
        work.find_semantic()
    work.resolve()
    work.settle()
    found: dict[str, Any] = stage.on_root(work.figures)
    stage.extra.update(found)
    for source in stage.extra["alarms"]:
        of = stage.extra["sources"][source]
        log.warning("dedup: source %r loses %d of %d documents", source, of["removed"], of["documents"])
    stage.on_root(lambda: _remove([stage.folder / phase for phase in LARGE]))
    return None


def source_fingerprint(config: DedupConfig, base: Path) -> Any:
    """Stands for the files besides the input that the stage reads: indexes of earlier corpora, embeddings."""
    return [*index.fingerprints(config, base), *semantic.fingerprint(config, base)] or None


class _Work:
    """The phases. Everything between phases lies in files, so that a rank that was not there when a phase ran can go on
    from it."""

    def __init__(self, stage: Stage, config: DedupConfig, base: Path) -> None:
        self.stage, self.config, self.base = stage, config, base
        self.paths = stage.input_parts()
        rows = {stage.inputs[0][0] / f.path: f.rows for f in stage.inputs[0][1].files}
        self.earlier, self.scopes = index.parts(index.folders(config, base))
        first = sum(p.count for p in self.earlier)
        counts = [rows[p] for p in self.paths]
        starts = np.cumsum([first, *counts]).tolist()
        stems = self.stems("rows", len(self.earlier) + len(counts))[len(self.earlier) :]
        mine = [Part(*args, (), is_indexed=False) for args in zip(stems, starts, counts)]
        self.parts = Parts((*self.earlier, *mine))
        self.P = num_partitions(self.parts.num_documents, config)
        self.limit = config.memory_records
        self.extra: dict[str, Any] = {}
        self.reports: list[PartReport] = []

    def stems(self, phase: str, count: int) -> list[Path]:
        return [self.stage.folder / phase / f"part-{i:05d}" for i in range(count)]

    def gather(self, phase: str, count: int, suffix: str, width: int) -> Gather:
        return Gather(self.stems(phase, count), suffix, width)

    def scatter(self, writer: PartWriter, suffix: str, width: int, targets: int) -> Scatter:
        return Scatter(writer, suffix, width, targets, self.limit)

    def each_part(self, phase: str, work: Any) -> list[PartReport]:
        """`work(number, writer)` for every part, those of indexes too."""
        return self.stage.map_parts(phase, range(len(self.parts)), work, output=False)

    def each_partition(self, phase: str, work: Any) -> list[PartReport]:
        """`work(number, writer)` for every partition."""
        return self.stage.map_parts(phase, range(self.P), work, output=False)

    def write_rows(self) -> None:
        def rows(i: int, writer: PartWriter) -> None:
            if (part := self.parts[i]).is_indexed:
                index.exact_keys(part, writer, self.P, self.config)
            else:
                item = (part.first, self.paths[i - len(self.earlier)], part.count)
                make_rows(item, writer, self.config, self.P)

        reports = self.each_part("rows", rows)[len(self.earlier) :]
        mine = self.parts.parts[len(self.earlier) :]
        named = [Part(p.stem, p.first, p.count, tuple(r.extra["sources"]), p.is_indexed) for p, r in zip(mine, reports)]
        self.parts = Parts((*self.earlier, *named))
        self.own_scopes = [r.extra["scopes"] for r in reports]
        check_scopes([*self.scopes, *self.own_scopes])
        self.extra["too_short_for_fuzzy"] = sum(r.extra["too_short"] for r in reports)

    def rank(self) -> None:
        width = policy_width(self.config)
        edges = order.splitters(self.parts, self.config, width)
        ranges = len(edges) + 1

        def policy(i: int, writer: PartWriter) -> None:
            order.scatter(self.parts[i], writer, edges, self.config)

        mine = [i for i in range(len(self.parts)) if not self.parts[i].is_indexed]
        if ranges == 1:
            sizes = [self.parts.num_documents - self.parts.num_indexed]
        else:
            self.stage.map_parts("policy", mine, policy, output=False)
            gather = self.gather("policy", len(mine), ".policy", width + 1)
            sizes = [gather.count(r) for r in range(ranges)]
        first_ranks = np.cumsum([self.parts.num_indexed, *sizes]).tolist()

        def sort(r: int, writer: PartWriter) -> None:
            if ranges == 1:
                records = order.all_records([self.parts[i] for i in mine], width)
            else:
                records = self.gather("policy", len(mine), ".policy", width + 1).read(r)
            order.sort(records, first_ranks[r], self.parts, writer, self.config)

        self.stage.map_parts("order", range(ranges), sort, output=False)
        self.order = Order(self.stems("order", ranges), self.parts)
        self.each_part("ranks", lambda i, w: self.order.write_part(i, w.path(".ranks", self.parts[i].count)))

    def ranks(self, i: int) -> Words:
        """(count,) the rank of each document of a part, mapped."""
        return raw(self.stems("ranks", len(self.parts))[i].with_name(f"part-{i:05d}.ranks"), np.uint64)

    def find_exact(self) -> None:
        num_parts = len(self.parts)

        def suspects(p: int, writer: PartWriter) -> None:
            with self.scatter(writer, ".suspects", 1, num_parts) as out:
                for records in self.gather("rows", num_parts, ".exact", 5).pieces(p, 0, self.limit):
                    found = exact.suspects(records)
                    out.add(found[:, None].view(np.uint64), self.parts.part_of(found))

        def digests(i: int, writer: PartWriter) -> None:
            part = self.parts[i]
            rows = np.sort(self.gather("suspects", self.P, ".suspects", 1).read(i)[:, 0]).astype(np.int64) - part.first
            rank, table = self.ranks(i), part.rows
            with self.scatter(writer, ".digests", 8, self.P) as out:
                for some, digest in self._digests(i, rows):
                    words = digest.view("<u8")
                    values = (table["bytes"][some], table["scope"][some], rank[some], some + part.first)
                    out.add(records_of(*words.T, *values), spread(words[:, 0], self.P))

        def settle(p: int, writer: PartWriter) -> None:
            with (
                self.scatter(writer, ".removed", 1, num_parts) as removed,
                self.scatter(writer, ".copies", 4, self.P) as copies,
            ):
                for records in self.gather("digests", num_parts, ".digests", 8).pieces(p, 0, self.limit):
                    pairs = exact.removals(records)
                    pairs = pairs[pairs[:, 0] >= self.parts.num_indexed]
                    removed.add(pairs[:, 2:3], self.parts.part_of(pairs[:, 2]))
                    copies.add(pairs, spread(pairs[:, 1], self.P))

        self.each_partition("suspects", suspects)
        self.each_part("digests", digests)
        self.each_partition("exact", settle)

    def _digests(self, i: int, rows: Ints) -> Any:
        """(rows, digests) of a part, some at a time."""
        part = self.parts[i]
        if not part.is_indexed:
            return exact.digests(self.paths[i - len(self.earlier)], rows)
        found = part.map(".digests", np.uint8, (-1, 32))
        return ((some, found[some]) for some in np.array_split(rows, -(-len(rows) // BLOCK) or 1) if len(some))

    def partakes(self, i: int) -> Iterator[Ints]:
        """Rows of a part, ascending, that have no better exact copy, some at a time."""
        part = self.parts[i]
        takes_part = np.ones(part.count, bool)
        if self.config.exact:
            for gone in self.gather("exact", self.P, ".removed", 1).slices(i):
                takes_part[gone[:, 0].astype(np.int64) - part.first] = False
        for begin in range(0, part.count, BLOCK):
            yield np.flatnonzero(takes_part[begin : begin + BLOCK]) + begin

    def find_near(self) -> None:
        items = Items(
            self.parts,
            self._near_keys,
            self.order.documents,
            lambda i, rows, out: write_sets(self.paths[i - len(self.earlier)], rows, self.config.ngram, out),
            lambda document: self.parts.name(document)[0],
        )
        cuts = max(1, -(-self.parts.num_documents // self.limit))
        self.near = NearSearch(self.stage, self.config, items, self.P, cuts)
        self.extra.update(self.near.find())

    def _near_keys(self, i: int) -> Iterator[tuple[Words, Words | None, Words]]:
        part, rank = self.parts[i], self.ranks(i)
        keys = part.map(".bands", np.uint64, (-1, self.config.bands))
        for rows in self.partakes(i):
            some = rows[part.rows["words"][rows] >= self.config.min_words]
            scope = None if self.config.scope == "global" else part.rows["scope"][some]
            yield keys[some], scope, rank[some]

    def find_semantic(self) -> None:
        search = semantic.Search(self.stage, self.config, self.base, self.parts, self.P)
        self.extra["semantic"] = search.run(self.partakes, self.ranks)

    def edges(self, p: int) -> Iterator[Words]:
        """The verified pairs of a partition as records of EDGE, not yet read: those that share a worse document are in
        one partition."""
        if self.config.fuzzy:
            yield self.near.edges(p)
        if self.config.semantic is not None:
            yield from semantic.neighbours(self.stage.folder, self.extra["semantic"]["groups"], p)

    def resolve(self) -> None:
        """Decide who goes."""
        total = sum(self.extra.get(kind, {}).get("verified", 0) for kind in ("pairs", "semantic"))
        self.is_removed = clustering.removed(
            self.stage, self.edges, self.P, total, self.parts.num_documents, self.limit
        )

    def settle(self) -> None:
        num_parts, width = len(self.parts), TABLE_WORDS

        def near_phase(p: int, writer: PartWriter) -> None:
            def copies() -> Iterator[Words]:
                if self.config.exact:
                    yield from self.gather("exact", self.P, ".copies", 4).slices(p)

            with (
                self.scatter(writer, ".table", width, num_parts) as out,
                self.scatter(writer, ".stands", 1, num_parts) as stands,
            ):
                # A copy goes with the pairs of its best copy.
                for edges, same in together([(lambda: self.edges(p), 0, EDGE_WORDS), (copies, 1, 4)], self.limit):
                    table = decide(edges_of(edges), same, self.is_removed)
                    out.add(table.view(np.uint64).reshape(-1, width), self.parts.part_of(table["document"]))
                    survivor = np.ascontiguousarray(table["survivor"])
                    stands.add(survivor[:, None], self.parts.part_of(survivor))

        self.each_partition("near", near_phase)
        del self.is_removed
        items = list(enumerate(self.paths, start=len(self.earlier)))

        def documents(item: tuple[int, Path], writer: PartWriter) -> None:
            i, path = item
            output.write_part(self.parts, i, path, self.window(i), writer, self.config)

        self.reports = self.stage.map_parts(PHASE, items, documents, label="dedup", key=lambda item: item[0])
        if self.config.index_out:
            self.write_index(items)

    def window(self, i: int) -> Callable[[int, int], tuple[npt.NDArray[Any], Ints]]:
        """For documents [begin, end) of a part: the removals among them (of TABLE, ascending), and for how many removed
        documents each stands. So many removals at a time are in memory, not those of a part of any size."""
        tables = self.gather("near", self.P, ".table", TABLE_WORDS)
        stands = self.gather("near", self.P, ".stands", 1)

        def load(begin: int, end: int) -> tuple[npt.NDArray[Any], Ints]:
            table = tables.between(i, 0, begin, end).view(TABLE).reshape(-1)
            survivors = stands.between(i, 0, begin, end)[:, 0].astype(np.int64) - begin
            return table[np.argsort(table["document"])], np.bincount(survivors, minlength=end - begin)

        return load

    def write_index(self, items: list[tuple[int, Path]]) -> None:
        def write(item: tuple[int, Path], writer: PartWriter) -> None:
            i, path = item
            gone = self.gather("near", self.P, ".table", TABLE_WORDS).read(i)[:, 0].astype(np.int64)
            gone = np.sort(gone) - self.parts[i].first
            index.write_part(self.parts[i], path, gone, writer, self.config)

        reports = self.stage.map_parts("index", items, write, key=lambda item: item[0], durable=True)
        files = [f for r in reports for f in r.files]
        mine = self.parts.parts[len(self.earlier) :]
        folder = self.stage.folder / "index"
        path = self.stage.on_root(lambda: index.write_manifest(folder, mine, self.own_scopes, files, self.config))
        self.stage.add_file(path, sum(r.extra["rows"] for r in reports))

    def figures(self) -> dict[str, Any]:
        """What the report shows."""
        tables = self.gather("near", self.P, ".table", TABLE_WORDS)
        stands = self.gather("near", self.P, ".stands", 1)
        return figures(self.config, self.parts, [r.extra for r in self.reports], tables, stands, self.extra)


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
