"""Exact copies. Texts are equal when their length, MurmurHash3-128 and, among those, BLAKE2b-256 agree.

The first two come from the pass over all texts; the cryptographic digest is taken only of documents that already agree,
so that nobody can craft a text that removes another, and no pair of texts has to be in memory at once.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.exchange import Ints, Words
from fasttrain.formats.document import iter_documents
from fasttrain.text import columns


def groups(records: Words, keys: int) -> tuple[Words, npt.NDArray[np.bool_]]:
    """Sort records by their first `keys` columns, then the others; say where each group of equal keys begins.

    The first column decides almost always, so it is sorted alone and only runs of equal values are sorted by the rest.
    """
    records = records[np.argsort(records[:, 0])]
    same = np.zeros(len(records) + 1, bool)
    np.equal(records[1:, 0], records[:-1, 0], out=same[1:-1])
    many = np.flatnonzero(same[1:] | same[:-1])
    records = records[many]
    records = records[np.lexsort(records.T[::-1])]
    new = np.ones(len(records), bool)
    new[1:] = (records[1:, :keys] != records[:-1, :keys]).any(axis=1)
    return records, new


def suspects(records: Words) -> Ints:
    """Documents, ascending, that agree with another in all columns but the last, which is the document."""
    records, new = groups(records, records.shape[1] - 1)
    alone = new & np.append(new[1:], True)[: len(new)]
    return np.sort(records[~alone, -1]).astype(np.int64)


def digests(path: Path, rows: Ints) -> Iterator[tuple[Ints, npt.NDArray[np.uint8]]]:
    """BLAKE2b-256 (k, 32) of the texts at the given (ascending) row numbers of a part, some rows at a time."""
    first = done = 0
    if len(rows) == 0:
        return
    for batch in iter_documents(path, ["text"]):
        end = int(np.searchsorted(rows, first + len(batch)))
        texts = columns.from_arrow(batch.column("text"))
        found = [_digest(texts, i) for i in (rows[done:end] - first).tolist()]
        if found:
            yield rows[done:end], np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
        first, done = first + len(batch), end


def _digest(texts: columns.TextColumn, i: int) -> bytes:
    return hashlib.blake2b(texts.data[texts.offsets[i] : texts.offsets[i + 1]].data, digest_size=32).digest()


def removals(records: Words) -> Words:
    """(k, 4) removed copy and the copy of it that is best, as ranks and then as documents; ascending.

    Args:
        records: (n, 8) digest (4), bytes, scope, rank, document.
    """
    records, new = groups(records, 6)
    best = records[np.flatnonzero(new)][np.cumsum(new) - 1]
    pairs = np.stack([records[:, 6], best[:, 6], records[:, 7], best[:, 7]], axis=1)[~new]
    return pairs[np.argsort(pairs[:, 0])]
