"""The probe texts as batches for evaluation: every token is scored exactly once, in a fixed order."""

from collections.abc import Iterator, Mapping

import numpy as np

from fasttrain.batch.order import Batch, assemble
from fasttrain.formats.shards import Shard


def probe_batches(
    shards: Mapping[str, Shard], seq_len: int, batch: int, *, rank: int = 0, size: int = 1
) -> Iterator[Batch]:
    """Yield the batches of `rank` of `size` (every size-th): the ranks together score each probe token once.

    A source's stream is its documents behind one end-of-text token, so that the first token is a target too; sequence
    i is stream[i T : i T + T + 1]. `sources` counts the shards in name order. The last batch may hold fewer rows. Ranks
    may get different numbers of batches: add sums up, never call a collective of those ranks inside the loop.
    """
    if seq_len < 1 or batch < 1:
        raise ValueError(f"probe_batches: seq_len and batch must be >= 1, got {seq_len} and {batch}")
    if not 0 <= rank < size:
        raise ValueError(f"probe_batches: rank must be in [0, size), got {rank} of {size}")
    rows = [
        (source, start)
        for source, name in enumerate(sorted(shards))
        for start in range(0, shards[name].num_tokens, seq_len)
    ]
    streams = [shards[name] for name in sorted(shards)]
    for first in range(rank * batch, len(rows), size * batch):
        chosen = rows[first : first + batch]
        windows = [_window(streams[source], start, seq_len) for source, start in chosen]
        yield assemble(windows, np.array([source for source, _ in chosen], np.int32), seq_len)


def _window(shard: Shard, start: int, seq_len: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    tokens, offsets = np.asarray(shard.tokens), np.asarray(shard.offsets)
    before = tokens[-1:] if start == 0 else tokens[start - 1 : start]  # a shard ends with an end-of-text token
    window = np.concatenate([before, tokens[start : start + seq_len]])
    inside = offsets[
        np.searchsorted(offsets, start, "left") : np.searchsorted(offsets, start + len(window) - 1, "left")
    ]
    return window, inside - start + 1
