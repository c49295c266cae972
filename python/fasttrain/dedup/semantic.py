"""Copies in meaning (SemDeDup): pairs of documents whose embeddings point the same way, found inside clusters.

    embeddings  each row group: unit vectors on a grid (embeddings.py), hashes of their keys
    names       each part: the same hashes of its documents        joined: documents with their vectors
    centroids   k-means of a sample        members: the cluster of each document
    neighbours  each group of clusters: pairs of cosine >= 1 - eps

The pairs join those of near copies, so that here too a document goes only for one that stays and that is itself close
to it. Vectors lie in files; the products of a cluster are made in blocks. A pair whose documents fall into different
clusters is not found: that is the method's recall, which `clusters` sets.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.core.errors import FormatError
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.embeddings import (
    Coarse,
    Fine,
    coarse,
    cosine,
    files,
    key_hashes,
    on_coarse_grid,
    read,
    row_groups,
    slack,
)
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, raw, save, spread
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.kmeans import kmeans, nearest
from fasttrain.dedup.rows import Parts
from fasttrain.dedup.survivors import SEMANTIC
from fasttrain.dedup.verify import EDGE, EDGE_WORDS, edges_records
from fasttrain.formats import atomic
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.stage import Stage

BLOCK = 2048  # documents of a cluster whose products are made at once
HELD_BYTES = 1 << 28  # of a cluster's vectors that are read once and not for every block


def fingerprint(config: DedupConfig, base: Path) -> list[str]:
    """Stands for the embeddings in the fingerprint of the stage: the hash of each file."""
    return [] if config.semantic is None else [atomic.sha256(path) for path in files(config.semantic, base)]


class Search:
    """The phases that find the pairs."""

    def __init__(self, stage: Stage, config: DedupConfig, base: Path, parts: Parts, partitions: int) -> None:
        assert config.semantic is not None
        self.stage, self.dedup, self.config = stage, config, config.semantic
        self.parts, self.P = parts, partitions
        self.items = row_groups(files(self.config, base), self.config)
        self.width = 0

    def run(self, partakes: Callable[[int], Iterator[Ints]], ranks: Callable[[int], Words]) -> dict[str, Any]:
        """Find the pairs and return the figures. `partakes`: rows of a part that take part; `ranks`: its ranks."""
        figures = self._join(partakes, ranks)
        count = figures["documents"]
        if count == 0:
            return {**figures, "groups": 0, "verified": 0}
        k = min(count, self.config.clusters or max(1, round(count**0.5)))
        groups = min(k, max(8, -(-count // self.dedup.memory_records)))
        self._cluster(count, k, groups)
        reports = self.stage.map_parts("neighbours", range(groups), self._neighbours, output=False)
        names = ("proposed", "verified", "rejected", "beyond_max_neighbours")
        return {
            **figures,
            "clusters": k,
            "largest_cluster": max(r.extra["largest"] for r in reports),
            "groups": groups,
            "cosine": round(1 - self.config.eps, 6),
            **{name: sum(r.extra[name] for r in reports) for name in names},
        }

    def _join(self, partakes: Callable[[int], Iterator[Ints]], ranks: Callable[[int], Words]) -> dict[str, Any]:
        limit = self.dedup.memory_records

        def embed(i: int, writer: PartWriter) -> None:
            width = rows = invalid = 0
            with (
                writer.path(".vectors", 0).open("wb") as file,
                Scatter(writer, ".keys", 4, self.P, limit) as out,
            ):
                for keys, vectors, bad in read(*self.items[i], self.config):
                    n = len(keys)
                    out.add(records_of(*keys.T, np.full(n, i), np.arange(rows, rows + n)), spread(keys[:, 0], self.P))
                    vectors.tofile(file)
                    width, rows, invalid = width or vectors.shape[1], rows + n, invalid + bad
                    if n and vectors.shape[1] != width:
                        raise FormatError(f"{self.items[i][0]}: vectors must have one length, got {width} and more")
            writer.extra = {"width": width, "rows": rows, "invalid": invalid}

        def name(i: int, writer: PartWriter) -> None:
            part, rank = self.parts[i], ranks(i)
            with Scatter(writer, ".names", 4, self.P, limit) as out:
                for some in () if part.is_indexed else partakes(i):
                    if self.config.key == "doc_id":
                        names = [i.tobytes().hex() for i in part.rows["id"][some].astype(">u8")]
                    else:
                        names = [part.origin(row) for row in some.tolist()]
                    keys = key_hashes(pa.array(names, pa.large_string()))
                    out.add(records_of(*keys.T, rank[some], some + part.first), spread(keys[:, 0], self.P))

        def join(p: int, writer: PartWriter) -> None:
            vectors = self._gather("embeddings", len(self.items), ".keys", 4).read(p)
            vectors = vectors[np.lexsort(vectors.T[::-1])]  # of several with one key the first row of the first file
            documents = self._gather("names", len(self.parts), ".names", 4).read(p)
            known, key = _bytes(vectors[:, :2]), _bytes(documents[:, :2])
            at = np.searchsorted(known, key)
            found = np.flatnonzero(at < len(known))
            found = found[known[at[found]] == key[found]]
            joined = np.concatenate([documents[found, 2:], vectors[at[found], 2:], documents[found, 1:2]], axis=1)
            joined = joined[np.lexsort([joined[:, 0], joined[:, 3], joined[:, 2]])]
            with writer.path(".joined", len(joined)).open("wb") as file:
                joined.tofile(file)
            used = len(np.unique(at[found]))
            writer.extra = {"documents": len(found), "documents_without": len(documents) - len(found),
                            "embeddings_without_document": len(vectors) - used}  # fmt: skip

        vectors = self.stage.map_parts("embeddings", range(len(self.items)), embed, output=False)
        widths = sorted({r.extra["width"] for r in vectors if r.extra["rows"]})
        if len(widths) > 1:
            raise FormatError(f"dedup.semantic.embeddings: vectors of all files must have one length, got {widths}")
        self.width = widths[0] if widths else 0
        self.stage.map_parts("names", range(len(self.parts)), name, output=False)
        reports = self.stage.map_parts("joined", range(self.P), join, output=False)
        self._vectors: list[Any] = [None] * len(self.items)
        return {
            **{n: _sum(reports, n) for n in ("documents", "documents_without", "embeddings_without_document")},
            "invalid_embeddings": _sum(vectors, "invalid"),
            "width": self.width,
        }

    def _gather(self, phase: str, count: int, suffix: str, width: int) -> Gather:
        return Gather([self.stage.folder / phase / f"part-{i:05d}" for i in range(count)], suffix, width)

    def _joined(self, p: int) -> Words:
        """(k, 5) rank, document, row group, row in it, hash: of the documents that have an embedding."""
        return raw(self.stage.folder / "joined" / f"part-{p:05d}.joined", np.uint64, (-1, 5))

    def _load(self, where: Words) -> Fine:
        """The vectors (k, D) at row group and row."""
        out = np.empty((len(where), self.width), np.int32)
        for i in np.unique(where[:, 0]).tolist():
            if self._vectors[i] is None:
                path = self.stage.folder / "embeddings" / f"part-{i:05d}.vectors"
                self._vectors[i] = raw(path, np.int32, (-1, self.width))
            here = np.flatnonzero(where[:, 0] == i)
            out[here] = self._vectors[i][where[here, 1].astype(np.int64)]
        return out

    def _cluster(self, count: int, k: int, groups: int) -> None:
        def train(_: int, writer: PartWriter) -> None:
            size = min(count, k * self.config.sample)
            # The hash of the key draws the sample: the smallest hashes, whatever the order of the input.
            below = min(1.0, 1.2 * size / count + 1e-3)
            draws = [np.empty((0, 5), np.uint64)]
            for p in range(self.P):
                joined = self._joined(p)
                draws.append(joined[joined[:, 4] <= np.uint64(min(int(below * 2**64), 2**64 - 1))])
            drawn = np.concatenate(draws)
            drawn = drawn[np.lexsort([drawn[:, 0], drawn[:, 4]])][:size]
            sample = np.empty((len(drawn), self.width), np.float32)
            for begin in range(0, len(drawn), 4096):
                sample[begin : begin + 4096] = on_coarse_grid(self._load(drawn[begin : begin + 4096, 2:4]))
            save(writer, ".centroids.npy", kmeans(sample, min(k, len(sample)), self.config.iterations))

        def assign(p: int, writer: PartWriter) -> None:
            centroids = np.load(self.stage.folder / "centroids" / "part-00000.centroids.npy")
            joined = self._joined(p)
            with Scatter(writer, ".members", 5, groups, self.dedup.memory_records) as out:
                for begin in range(0, len(joined), 8192):
                    some = joined[begin : begin + 8192]
                    cluster = nearest(on_coarse_grid(self._load(some[:, 2:4])), centroids)
                    records = np.concatenate([cluster[:, None].view(np.uint64), some[:, :4]], axis=1)
                    out.add(records, cluster % groups)

        self.stage.map_parts("centroids", [0], train, output=False)
        self.stage.map_parts("members", range(self.P), assign, output=False)

    def _neighbours(self, group: int, writer: PartWriter) -> None:
        members = self._gather("members", self.P, ".members", 5).read(group)
        members = members[np.lexsort([members[:, 1], members[:, 0]])]
        edges = np.flatnonzero(members[1:, 0] != members[:-1, 0]) + 1
        counts = {"proposed": 0, "verified": 0, "rejected": 0, "beyond_max_neighbours": 0, "largest": 0}
        with Scatter(writer, ".edges", EDGE_WORDS, self.P, self.dedup.memory_records) as out:
            for cluster in np.split(members, edges):
                counts["largest"] = max(counts["largest"], len(cluster))
                for found in self._pairs(cluster, counts):
                    out.add(edges_records(found), spread(found["worse"], self.P))
        writer.extra = counts

    def _pairs(self, members: Words, counts: dict[str, int]) -> Iterator[npt.NDArray[Any]]:
        """The verified pairs of one cluster, (n, 5) cluster, rank, document, row group, row; ascending by rank."""
        scope = self.parts.values(members[:, 2], "scope") if self.dedup.scope != "global" else None
        load = self._loader(members)
        least = 1 - self.config.eps
        # Of the products of two coarse vectors, whose lengths are within half a step a component of `coarse`.
        floor = (least - slack(self.width)) * coarse(self.width) ** 2
        for i in range(0, len(members), BLOCK):
            worse_fine, worse = load(i)
            taken = np.zeros(len(worse), np.int64)
            for j in range(0, i + 1, BLOCK):
                better_fine, better = load(j)
                near = worse @ better.T >= floor
                if i == j:
                    near = np.tril(near, -1)
                if scope is not None:
                    near &= scope[i : i + BLOCK, None] == scope[None, j : j + BLOCK]
                w, b = np.nonzero(near)
                for at in range(0, len(w), BLOCK):
                    ww, bb = w[at : at + BLOCK], b[at : at + BLOCK]
                    score = cosine(worse_fine[ww], better_fine[bb])
                    good = score >= least
                    counts["proposed"] += len(ww)
                    counts["rejected"] += int((~good).sum())
                    ww, bb, score = ww[good], bb[good], score[good]
                    # Ascending by worse, then by better: the first few of each are the best.
                    place = np.arange(len(ww)) - np.searchsorted(ww, ww) + taken[ww]
                    taken += np.bincount(ww, minlength=len(taken))
                    few = place < self.config.max_neighbours
                    counts["verified"] += int(few.sum())
                    counts["beyond_max_neighbours"] += int((~few).sum())
                    found = np.zeros(int(few.sum()), EDGE)
                    found["worse"], found["worse_document"] = members[i + ww[few], 1:3].T
                    found["better"], found["better_document"] = members[j + bb[few], 1:3].T
                    found["score"], found["kind"] = score[few], SEMANTIC
                    yield found

    def _loader(self, members: Words) -> Callable[[int], tuple[Fine, Coarse]]:
        def load(begin: int) -> tuple[Fine, Coarse]:
            fine = self._load(members[begin : begin + BLOCK, 3:5])
            return fine, on_coarse_grid(fine)

        if len(members) * self.width * 8 > HELD_BYTES:
            return load
        held = {begin: load(begin) for begin in range(0, len(members), BLOCK)}
        return held.__getitem__


def neighbours(folder: Path, groups: int, partition: int) -> Iterator[Words]:
    """Records of EDGE that `Search` found, by the partition of the worse document."""
    stems = [folder / "neighbours" / f"part-{i:05d}" for i in range(groups)]
    yield from Gather(stems, ".edges", EDGE_WORDS).slices(partition)


def _bytes(keys: Words) -> npt.NDArray[np.bytes_]:
    """(n, 2) keys as byte strings, which compare word by word."""
    return np.ascontiguousarray(keys.astype(">u8")).view("S16").ravel()


def _sum(reports: list[PartReport], name: str) -> int:
    return sum(r.extra[name] for r in reports)
