"""Exact copies. Texts are equal when their length, MurmurHash3-128 and, among those, BLAKE2b-256 agree.

The first two come from the pass over all texts; the cryptographic digest is taken only of documents that already agree,
so that nobody can craft a text that removes another, and no pair of texts has to be in memory at once.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.rows import Ints, Rows
from fasttrain.formats.document import iter_documents
from fasttrain.text import columns


def groups(keys: list[npt.NDArray[np.generic]]) -> Ints:
    """Number the distinct rows of parallel columns: (N,) group of each, numbered in sorted order."""
    order = np.lexsort(keys[::-1])
    new = np.zeros(len(order), bool)
    for column in keys:
        new[1:] |= column[order][1:] != column[order][:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new)
    return group


def suspects(rows: Rows, *, by_source: bool) -> Ints:
    """Documents that agree with another in length and 128-bit hash, in ascending order."""
    keys = [rows.table["hash"][:, 0], rows.table["hash"][:, 1], rows.table["bytes"]]
    group = groups([*keys, rows.table["source"]] if by_source else keys)
    return np.flatnonzero(np.bincount(group, minlength=1)[group] > 1) if len(group) else np.empty(0, np.int64)


def digests(path: Path, rows: Ints) -> npt.NDArray[np.uint8]:
    """(k, 32) BLAKE2b-256 of the texts at the given (ascending) row numbers of a part."""
    out = np.empty((len(rows), 32), np.uint8)
    first = done = 0
    if len(rows) == 0:
        return out
    for batch in iter_documents(path, ["text"]):
        texts = columns.from_arrow(batch.column("text"))
        here = rows[done : np.searchsorted(rows, first + len(batch))] - first
        for i in here.tolist():
            raw = texts.data[texts.offsets[i] : texts.offsets[i + 1]].data
            out[done] = np.frombuffer(hashlib.blake2b(raw, digest_size=32).digest(), np.uint8)
            done += 1
        first += len(batch)
    return out


def removals(rows: Rows, documents: Ints, digest: npt.NDArray[np.uint8], rank: Ints, *, by_source: bool) -> Ints:
    """(k, 2) removed document and the copy of it that is best by rank."""
    if len(documents) == 0:
        return np.empty((0, 2), np.int64)
    words = digest.view("<u8")
    keys: list[npt.NDArray[np.generic]] = [words[:, i] for i in range(4)]
    keys.append(rows.table["bytes"][documents])
    if by_source:
        keys.append(rows.table["source"][documents])
    group = groups(keys)
    order = np.lexsort([rank[documents], group])
    first = np.concatenate([[True], np.diff(group[order]) != 0])
    best = documents[order][np.flatnonzero(first)][np.cumsum(first) - 1]
    pairs = np.stack([documents[order], best], axis=1)[~first]
    return np.ascontiguousarray(pairs[np.argsort(pairs[:, 0])])
