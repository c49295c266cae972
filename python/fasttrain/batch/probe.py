"""The probe texts as batches for evaluation: every token is scored exactly once, in a fixed order."""

from collections.abc import Iterator, Mapping

import numpy as np

from fasttrain.batch.window import Batch, Pieces, Reader, assemble
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
    readers = [Reader(shards[name]) for name in sorted(shards)]
    rows = [(source, start) for source, reader in enumerate(readers) for start in range(0, len(reader.tokens), seq_len)]
    for first in range(rank * batch, len(rows), size * batch):
        chosen = rows[first : first + batch]
        sources = np.array([source for source, _ in chosen], np.int32)
        parts = [
            _pieces(readers[s], [(r, a) for r, (t, a) in enumerate(chosen) if t == s], seq_len)
            for s in set(sources.tolist())
        ]
        yield assemble(parts, sources, seq_len)


def _pieces(reader: Reader, rows: list[tuple[int, int]], seq_len: int) -> Pieces:
    """The windows of (row, first target) of one shard: the token before, then up to seq_len targets."""
    total = len(reader.tokens)
    pieces = []
    for row, start in rows:
        if start == 0:
            pieces += [(row, total - 1, 1), (row, 0, min(seq_len, total))]  # a shard ends with an end-of-text token
        else:
            pieces.append((row, start - 1, min(seq_len + 1, total - start + 1)))
    row_M, start_M, length_M = np.array(pieces, np.int64).T
    return Pieces(reader, row_M, start_M, length_M)
