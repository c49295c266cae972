"""Who goes, decided from the verified pairs: whatever is a direct duplicate of something better that stays.

    open-000 ...   each partition: pairs that are still open, and what the round has settled
    resolve        the rest, at once, when it is no more than `limit` pairs

Of the verified pairs (worse, better) at most `limit` are in memory at a time, and a byte for every item.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup import near
from fasttrain.dedup.exchange import Words, raw, save, together
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage

KEPT, OPEN, GONE = 0, 1, 2
FILES = {"undecided": OPEN, "removed": GONE, "kept": KEPT}
BLOCK = 1 << 16


def removed(
    stage: Stage, edges: Callable[[int], Iterable[Words]], partitions: int, total: int, items: int, limit: int
) -> npt.NDArray[np.bool_]:
    """(items,) whether each goes, by rank: that of going through all from the best to the worst and removing each that
    is a duplicate of one kept so far. Each round settles what the last one left open, on all ranks.

    Args:
        edges: of a partition, slices of records whose first two columns are the worse and the better rank; all that
            share a worse one are in one partition.
        total: pairs of all partitions.
    """
    state = np.zeros(items, np.uint8)
    rounds = 0

    def stems(phase: str) -> list[Path]:
        return [stage.folder / phase / f"part-{p:05d}" for p in range(partitions)]

    def slices(p: int) -> Iterator[Words]:
        if rounds:
            stem = stems(f"open-{rounds - 1:03d}")[p]
            yield raw(stem.with_name(f"{stem.name}.open"), np.uint64, (-1, 2))
        else:
            yield from (s[:, :2] for s in edges(p))

    def settle(p: int, writer: PartWriter) -> None:
        count = 0
        with ExitStack() as stack:
            files = {n: stack.enter_context(writer.path(f".{n}", 0).open("wb")) for n in ("open", *FILES)}
            for (left,) in together([(lambda: slices(p), 0, 2)], limit):
                if rounds:
                    rest, goes, stays = _settled(left, state)
                    goes.tofile(files["removed"])
                    stays.tofile(files["kept"])
                else:
                    rest = left
                    np.unique(left[:, 0]).tofile(files["undecided"])
                np.ascontiguousarray(rest).tofile(files["open"])
                count += len(rest)
        writer.extra = {"open": count}

    def finish(_: int, writer: PartWriter) -> None:
        left = np.concatenate([np.empty((0, 2), np.uint64), *(s for p in range(partitions) for s in slices(p))])
        save(writer, ".removed.npy", near.resolve(left))

    while total > limit:
        phase = f"open-{rounds:03d}"
        reports = stage.map_parts(phase, range(partitions), settle, output=False)
        for stem in stems(phase):
            for name, value in FILES.items():
                _mark(state, raw(stem.with_name(f"{stem.name}.{name}"), np.uint64), value)
        rounds, total = rounds + 1, sum(r.extra["open"] for r in reports)
    stage.map_parts("resolve", [0], finish, output=False)
    _mark(state, np.load(stage.folder / "resolve" / "part-00000.removed.npy", mmap_mode="r"), GONE)
    found = state.view(np.bool_)
    np.equal(state, GONE, out=found)  # in place: a second byte for every item would be as much again
    return found


def _settled(left: Words, state: npt.NDArray[np.uint8]) -> tuple[Words, Words, Words]:
    """What of the open pairs stays open, who goes, who stays."""
    better = state[left[:, 1].astype(np.int64)]
    goes = np.unique(left[better == KEPT, 0])
    rest = left[(better == OPEN) & ~np.isin(left[:, 0], goes)]
    stays = np.setdiff1d(np.setdiff1d(left[:, 0], goes), rest[:, 0])
    return rest, goes, stays


def _mark(state: npt.NDArray[np.uint8], items: Any, value: int) -> None:
    for begin in range(0, len(items), BLOCK):
        state[items[begin : begin + BLOCK].astype(np.int64)] = value
