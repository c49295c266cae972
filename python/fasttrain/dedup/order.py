"""The order of preference: a rank for every document, 0 being the one to keep first, by sorting on disk.

The documents of indexes come first, by number: they always stay. Those of the input follow by their policy keys, whose
last words are the doc_id, so that ranks do not depend on parts or on the order of the input. Policy keys are cut into
ranges by a sample, each range is sorted alone, and its ranks go back to the parts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import DedupConfig, num_partitions
from fasttrain.dedup.exchange import Gather, Ints, Scatter, Words, mix, save
from fasttrain.dedup.rows import Part, Parts
from fasttrain.formats.part import PartWriter

BLOCK = 1 << 16
SAMPLE = 256  # policy keys for each range


def splitters(parts: Parts, config: DedupConfig, width: int) -> Words:
    """(ranges - 1, W) policy keys at which ranges begin, from a sample of all parts: the same on every rank."""
    mine = [p for p in parts if not p.is_indexed]
    total = sum(p.count for p in mine)
    ranges = num_partitions(total, config)
    stride = max(1, total // (SAMPLE * ranges))
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


def all_records(parts: Sequence[Part], width: int) -> Words:
    """Policy key and number of every document of these parts: what `scatter` sends where there is only one range."""
    numbers = [np.arange(p.first, p.first + p.count).astype(np.uint64)[:, None] for p in parts]
    keys = [np.concatenate([_policy(p, width), n], axis=1) for p, n in zip(parts, numbers)]
    return np.concatenate([np.empty((0, width + 1), np.uint64), *keys])


def scatter(part: Part, writer: PartWriter, edges: Words, config: DedupConfig) -> None:
    """Send each document of a part, with its policy key, to its range."""
    width = edges.shape[1]
    keys, bounds = _policy(part, width), _bytes(edges)
    with Scatter(writer, ".policy", width + 1, len(edges) + 1, config.memory_records) as out:
        for begin in range(0, part.count, BLOCK):
            key = keys[begin : begin + BLOCK]
            number = np.arange(part.first + begin, part.first + begin + len(key)).astype(np.uint64)
            target = np.searchsorted(bounds, _bytes(key), side="right")
            out.add(np.concatenate([key, number[:, None]], axis=1), target)


def sort(records: Words, first_rank: int, parts: Parts, writer: PartWriter, config: DedupConfig) -> None:
    """Rank a range: write its documents in order, and each part's (document, rank)."""
    order = np.lexsort(records.T[::-1])  # equal in everything, doc_id included: by number
    documents = records[order, -1]
    save(writer, ".documents.npy", documents.astype(np.int64))
    ranks = np.arange(first_rank, first_rank + len(documents)).astype(np.uint64)
    with Scatter(writer, ".ranks", 2, len(parts), config.memory_records) as out:
        out.add(np.stack([documents, ranks], axis=1), parts.part_of(documents))


class Order:
    """Ranks by part and documents by rank, as `sort` wrote them."""

    def __init__(self, stems: Sequence[Path], parts: Parts) -> None:
        self._parts = parts
        self._ranks = Gather(stems, ".ranks", 2)
        self._documents = [np.load(s.with_name(f"{s.name}.documents.npy"), mmap_mode="r") for s in stems]
        self._starts = parts.num_indexed + np.cumsum([0, *(len(d) for d in self._documents)])

    def write_part(self, part: int, path: Path) -> None:
        """Write the rank of each document of a part, in its order, as raw uint64."""
        p = self._parts[part]
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

    def documents(self, ranks: Words) -> Words:
        """The documents of ranks."""
        out = ranks.copy()
        at = np.searchsorted(self._starts, ranks, side="right") - 1
        for i in np.unique(at[at >= 0]).tolist():
            here = np.flatnonzero(at == i)
            out[here] = self._documents[i][ranks[here].astype(np.int64) - self._starts[i]]
        return out


def _policy(part: Part, width: int) -> Words:
    return part.map(".policy", np.uint64, (-1, width))


def _bytes(keys: Words) -> npt.NDArray[np.bytes_]:
    """Keys as byte strings, which compare word by word."""
    return np.ascontiguousarray(keys.astype(">u8")).view(f"S{8 * keys.shape[1]}").ravel()
