"""The order of preference: a rank for every document, 0 being the one to keep first, by sorting on disk.

    policy     each part: policy key and number of every document, to the range of its key
    order      each range: its documents in order
    ranks      each part: the rank of each of its documents

The documents of indexes come first, by number: they always stay. Those of the input follow by their policy keys, whose
last words are the doc_id and the text's hash, so that ranks do not depend on parts or on the order of the input. Policy
keys are cut into ranges by a sample, each range is sorted alone, and its ranks go back to the parts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import num_partitions
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, mix, raw, save
from fasttrain.dedup.rows import Part, Parts
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage

BLOCK = 1 << 16
SAMPLE = 256  # policy keys for each range


def rank(stage: Stage, parts: Parts, width: int, limit: int) -> "Order":
    """Run the phases. The parts of the input have policy keys of `width` words in `.policy`; a rank of the job sorts
    about `limit` of them at once."""
    mine = [i for i, part in enumerate(parts) if not part.is_indexed]
    ranges = num_partitions(sum(parts[i].count for i in mine), limit)

    def stems(phase: str, count: int) -> list[Path]:
        return [stage.folder / phase / f"part-{i:05d}" for i in range(count)]

    gather = Gather(stems("policy", len(mine)), ".policy", width + 1)
    if ranges == 1:
        sizes = [parts.num_documents - parts.num_indexed]
    else:
        edges = _splitters(parts, ranges, width)
        stage.map_parts("policy", mine, lambda i, w: _scatter(parts[i], w, edges, limit), output=False)
        sizes = [gather.count(r) for r in range(ranges)]
    first_ranks = np.cumsum([parts.num_indexed, *sizes]).tolist()

    def sort(r: int, writer: PartWriter) -> None:
        records = _all_records([parts[i] for i in mine], width) if ranges == 1 else gather.read(r)
        _sort(records, first_ranks[r], parts, writer, limit)

    stage.map_parts("order", range(ranges), sort, output=False)
    order = Order(stems("order", ranges), stems("ranks", len(parts)), parts)
    stage.map_parts("ranks", range(len(parts)), order.write_part, output=False)
    return order


def _splitters(parts: Parts, ranges: int, width: int) -> Words:
    """(ranges - 1, W) policy keys at which ranges begin, from a sample of all parts: the same on every rank."""
    mine = [p for p in parts if not p.is_indexed]
    stride = max(1, sum(p.count for p in mine) // (SAMPLE * ranges))
    sample = np.concatenate(
        [np.empty((0, width), np.uint64), *(_policy(p, width)[_draw(p.count, stride)] for p in mine)]
    )
    sample = sample[np.argsort(_bytes(sample), kind="stable")]
    return sample[np.arange(1, ranges) * len(sample) // ranges]


def _draw(count: int, stride: int) -> Ints:
    """One row of every `stride`, where a hash says: sources that alternate in step with it would bias a fixed one."""
    rows = np.arange(0, count, stride)
    rows += (mix(rows.astype(np.uint64)) % np.uint64(stride)).astype(np.int64)
    return rows[rows < count]


def _all_records(parts: Sequence[Part], width: int) -> Words:
    """Policy key and number of every document of these parts: what `_scatter` sends where there is only one range."""
    numbers = [np.arange(p.first, p.first + p.count).astype(np.uint64)[:, None] for p in parts]
    keys = [np.concatenate([_policy(p, width), n], axis=1) for p, n in zip(parts, numbers)]
    return np.concatenate([np.empty((0, width + 1), np.uint64), *keys])


def _scatter(part: Part, writer: PartWriter, edges: Words, limit: int) -> None:
    """Send each document of a part, with its policy key, to its range."""
    width = edges.shape[1]
    keys, bounds = _policy(part, width), _bytes(edges)
    with Scatter(writer, ".policy", width + 1, len(edges) + 1, limit) as out:
        for begin in range(0, part.count, BLOCK):
            key = keys[begin : begin + BLOCK]
            number = np.arange(part.first + begin, part.first + begin + len(key)).astype(np.uint64)
            target = np.searchsorted(bounds, _bytes(key), side="right")
            out.add(np.concatenate([key, number[:, None]], axis=1), target)


def _sort(records: Words, first_rank: int, parts: Parts, writer: PartWriter, limit: int) -> None:
    """Rank a range: write its documents in order, and each part's (document, rank)."""
    order = np.lexsort(records.T[::-1])  # equal in everything, doc_id included: by number
    documents = records[order, -1]
    save(writer, ".documents.npy", documents.astype(np.int64))
    ranks = np.arange(first_rank, first_rank + len(documents)).astype(np.uint64)
    with Scatter(writer, ".ranks", 2, len(parts), limit) as out:
        out.add(np.stack([documents, ranks], axis=1), parts.part_of(documents))


class Order:
    """Ranks by part and documents by rank, on disk."""

    def __init__(self, ranges: Sequence[Path], ranks: Sequence[Path], parts: Parts) -> None:
        """Stems of the files that `order` wrote for each range, and of those that `write_part` writes for each part."""
        self._parts, self._rank_stems = parts, ranks
        self._ranks = Gather(ranges, ".ranks", 2)
        self.ranges = [np.asarray(np.load(s.with_name(f"{s.name}.documents.npy"), mmap_mode="r")) for s in ranges]
        """Of each range the numbers of its documents, by rank, mapped; indexed documents are in none."""
        self.starts = parts.num_indexed + np.cumsum([0, *(len(d) for d in self.ranges)])
        """(ranges + 1,) the first rank of each."""

    def write_part(self, part: int, writer: PartWriter) -> None:
        """Write the rank of each document of a part, in its order, as raw uint64."""
        p = self._parts[part]
        path = writer.path(".ranks", p.count)
        if p.count == 0:
            path.touch()
            return
        ranks = np.memmap(path, np.uint64, "w+", shape=(p.count,))
        for begin in range(0, p.count, BLOCK) if p.is_indexed else ():
            end = min(begin + BLOCK, p.count)
            ranks[begin:end] = np.arange(p.first + begin, p.first + end)
        for records in () if p.is_indexed else self._ranks.slices(part):
            for begin in range(0, len(records), BLOCK):
                some = records[begin : begin + BLOCK]
                ranks[some[:, 0].astype(np.int64) - p.first] = some[:, 1]
        ranks.flush()

    def ranks(self, part: int) -> Words:
        """(count,) the rank of each document of a part, mapped."""
        stem = self._rank_stems[part]
        return raw(stem.with_name(f"{stem.name}.ranks"), np.uint64)

    def documents(self, ranks: Words) -> Words:
        """The documents of ranks."""
        out = ranks.copy()
        at = np.searchsorted(self.starts, ranks, side="right") - 1
        for i in np.unique(at[at >= 0]).tolist():
            here = np.flatnonzero(at == i)
            out[here] = self.ranges[i][ranks[here].astype(np.int64) - self.starts[i]]
        return out


def _policy(part: Part, width: int) -> Words:
    return part.map(".policy", np.uint64, (-1, width))


def _bytes(keys: Words) -> npt.NDArray[np.bytes_]:
    """Keys as byte strings, which compare word by word."""
    return np.ascontiguousarray(keys.astype(">u8")).view(f"S{8 * keys.shape[1]}").ravel()
