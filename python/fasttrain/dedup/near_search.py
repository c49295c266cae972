"""The search for near copies, of documents or of passages: bands propose, exact similarity decides.

    bands      each part: (key, scope, rank) of every band of what takes part, to the partition of its key
    pairs      each partition of keys: pairs that agree on a band; oversized buckets are capped and counted
    merge      each partition of the worse ones: the distinct pairs of all bands, and whose sets they need
    sets       each part: those shingle sets
    verify     each partition: exact similarity of each pair; what reaches the threshold is written as EDGE

What is searched has a number (its place in the input), by which its sets are found, and a rank, by which it is better
or worse; `Items` gives both. Every phase reads and writes pieces of `memory_records`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fasttrain.dedup import near
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, raw, save, spread
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.figures import SIMILARITY
from fasttrain.dedup.rows import Parts
from fasttrain.dedup.survivors import NEAR
from fasttrain.dedup.verify import EDGE, SetFiles, similarity
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage

BLOCK = 1 << 16  # pairs compared at once
REJECTED = 20  # pairs just under the threshold that are shown
LARGE = ("bands", "pairs", "sets")
"""Phases whose files go when all is done."""


@dataclass(frozen=True)
class Items:
    """What takes part in a search."""

    parts: Parts
    """Where it lies. Of a part, `first`, `count` and `is_indexed` are read, and the sets of an indexed one."""
    keys: Callable[[int], Iterator[tuple[Words, Words | None, Words]]]
    """Of a part, some at a time: band keys (n, bands), scopes (n,) if there are scopes, ranks (n,)."""
    numbers: Callable[[Words], Words]
    """The numbers of ranks."""
    write_sets: Callable[[int, Ints, Path], Ints]
    """Write the shingle sets of the (ascending) rows of a part; return their offsets (verify.write_sets)."""
    name: Callable[[int], str]
    """How the figures name an item of a rejected pair."""
    apart: Callable[[Words], Words] = lambda pairs: pairs
    """Those of some pairs of ranks that may be compared."""


class NearSearch:
    """The phases. `find` runs them; `edges` gives what they found."""

    def __init__(self, stage: Stage, config: DedupConfig, items: Items, partitions: int, cuts: int) -> None:
        """`partitions`: of the worse ones. `cuts`: partitions of a band."""
        self.stage, self.config, self.items = stage, config, items
        self.P, self.cuts, self.limit = partitions, cuts, config.memory_records
        self.width = 2 if config.scope == "global" else 3
        self.indexed = items.parts.num_indexed

    def stems(self, phase: str, count: int) -> list[Path]:
        """Files of a phase without their suffixes."""
        return [self.stage.folder / phase / f"part-{i:05d}" for i in range(count)]

    def find(self) -> dict[str, Any]:
        """Find and verify the pairs; return the figures."""
        parts, targets = len(self.items.parts), self.config.bands * self.cuts
        found: dict[str, Any] = {}
        self.stage.map_parts("bands", range(parts), self._bands, output=False)
        buckets = [r.extra for r in self.stage.map_parts("pairs", range(targets), self._pairs, output=False)]
        names = ("buckets", "oversized_buckets", "documents_in_oversized_buckets")
        found["buckets"] = {
            **{name: sum(b[name] for b in buckets) for name in names},
            "largest_bucket": max(b["largest_bucket"] for b in buckets),
            "max_bucket": self.config.max_bucket,
        }
        self.stage.map_parts("merge", range(self.P), self._merge, output=False)
        self.stage.map_parts("sets", range(parts), self._sets, output=False)
        reports = self.stage.map_parts("verify", range(self.P), self._verify, output=False)
        found["pairs"] = {n: sum(r.extra[n] for r in reports) for n in ("proposed", "verified", "rejected")}
        histogram = np.sum([r.extra["histogram"] for r in reports], axis=0).tolist()
        edges = [f"{low:g}-{high:g}" for low, high in pairwise(SIMILARITY)]
        found[f"{self.config.verify}_of_proposed"] = dict(zip(edges, histogram))
        closest = sorted((pair for r in reports for pair in r.extra["closest"]), key=_closeness)[:REJECTED]
        found["closest_rejected"] = [{"score": p[0], "worse": p[3], "better": p[4]} for p in closest]
        return found

    def _bands(self, i: int, writer: PartWriter) -> None:
        bands, cuts = self.config.bands, self.cuts
        with Scatter(writer, ".bands", self.width, bands * cuts, self.limit) as out:
            for key, scope, rank in self.items.keys(i):
                between = () if scope is None else (scope,)
                for b in range(bands):
                    out.add(records_of(key[:, b], *between, rank), b * cuts + spread(key[:, b], cuts))

    def _pairs(self, target: int, writer: PartWriter) -> None:
        counts: Counter[str] = Counter()
        gather = Gather(self.stems("bands", len(self.items.parts)), ".bands", self.width)
        with Scatter(writer, ".pairs", 3, self.P, self.limit) as out:
            for records in gather.pieces(target, 0, self.limit):
                for found in near.propose(records, self.config.max_bucket, self.indexed, counts):
                    pairs = self.items.apart(found)
                    band = np.full(len(pairs), target // self.cuts, np.uint64)
                    out.add(np.concatenate([pairs, band[:, None]], axis=1), spread(pairs[:, 0], self.P))
        writer.extra = dict(counts)

    def _merge(self, p: int, writer: PartWriter) -> None:
        gather = Gather(self.stems("pairs", self.config.bands * self.cuts), ".pairs", 3)
        with (
            Scatter(writer, ".wanted", 1, len(self.items.parts), self.limit) as wanted,
            writer.path(".pairs", 0).open("wb") as file,
        ):
            for records in gather.pieces(p, 0, self.limit):
                found = near.merge(records)
                numbers = self.items.numbers(found[:, :2].ravel()).reshape(-1, 2)
                np.concatenate([found, numbers], axis=1).tofile(file)
                named = np.unique(numbers)
                wanted.add(named[:, None], self.items.parts.part_of(named))

    def _sets(self, i: int, writer: PartWriter) -> None:
        part = self.items.parts[i]
        if not part.is_indexed:
            is_wanted = np.zeros(part.count, bool)
            for some in Gather(self.stems("merge", self.P), ".wanted", 1).slices(i):
                is_wanted[some[:, 0].astype(np.int64) - part.first] = True
            rows = np.flatnonzero(is_wanted)
            save(writer, ".setrows.npy", rows)
            save(writer, ".offsets.npy", self.items.write_sets(i, rows, writer.path(".sets", len(rows))))

    def _verify(self, p: int, writer: PartWriter) -> None:
        parts, name = self.items.parts, self.items.name
        pairs = raw(self.stems("merge", self.P)[p].with_name(f"part-{p:05d}.pairs"), np.uint64, (-1, 5))
        stems = self.stems("sets", len(parts))
        sets = SetFiles(parts, [q.stem if q.is_indexed else s for q, s in zip(parts, stems)])
        histogram, verified, block = np.zeros(len(SIMILARITY) - 1, np.int64), 0, min(BLOCK, self.limit)
        closest: list[tuple[Any, ...]] = []
        with writer.path(".edges", 0).open("wb") as file:
            for begin in range(0, len(pairs), block):
                some = pairs[begin : begin + block]
                score = similarity(some[:, 3:], sets, self.config)
                histogram += np.histogram(score, SIMILARITY)[0]
                good = score >= self.config.least
                edges = np.zeros(int(good.sum()), EDGE)
                for column, values in zip(
                    ("worse", "better", "bits", "worse_document", "better_document"), some[good].T
                ):
                    edges[column] = values
                edges["score"], edges["kind"] = score[good], NEAR
                edges.tofile(file)
                verified += len(edges)
                bad = np.flatnonzero(~good)
                bad = bad[np.lexsort([some[bad, 1], some[bad, 0], -score[bad]])][:REJECTED]
                closest += [
                    (float(score[k]), int(some[k, 0]), int(some[k, 1]), *some[k, 3:].tolist()) for k in bad.tolist()
                ]
                closest = sorted(closest, key=_closeness)[:REJECTED]
        named = [(*pair[:3], name(pair[3]), name(pair[4])) for pair in closest]
        proposed = len(pairs)
        writer.extra = {"proposed": proposed, "verified": verified, "rejected": proposed - verified,
                        "histogram": histogram.tolist(), "closest": named}  # fmt: skip

    def edges(self, p: int) -> Words:
        """The verified pairs of a partition as records of EDGE, mapped."""
        return raw(
            self.stems("verify", self.P)[p].with_name(f"part-{p:05d}.edges"), np.uint64, (-1, EDGE.itemsize // 8)
        )


def _closeness(pair: tuple[Any, ...]) -> tuple[Any, ...]:
    """Rejected pairs, the most similar first; ranks, which do not depend on parts, decide ties."""
    return (-pair[0], pair[1], pair[2])
