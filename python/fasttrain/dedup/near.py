"""Near copies: pairs that a band proposes, the exact similarity of each, and who goes because of whom.

Nothing is removed transitively: a document goes only when it is itself a verified duplicate of one that stays.
(Connected components over band collisions have put 51,160 unrelated books into one cluster.)
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import BEST_OF_BUCKET
from fasttrain.dedup.rows import Ints
from fasttrain.formats.document import iter_documents
from fasttrain.text import columns
from fasttrain.text.shingle import shingle


def propose(
    keys: npt.NDArray[np.uint64], documents: Ints, rank: Ints, scope: Ints, max_bucket: int
) -> tuple[Ints, Any]:
    """Pairs (better, worse) of documents that share a key of one band, and what is to be reported of its buckets.

    Args:
        keys, documents, rank, scope: (n,) of the documents that take part; equal scope is needed for a pair.
    Returns: (k, 2) int64 and counts of buckets that were too large to compare all with all.
    """
    order = np.lexsort([rank, scope, keys])
    key, documents, scope = keys[order], documents[order], scope[order]
    n = len(key)
    new = np.ones(n, bool)
    new[1:] = (key[1:] != key[:-1]) | (scope[1:] != scope[:-1])
    bucket = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, n))
    large = sizes > max_bucket
    pairs = [np.empty((0, 2), np.int64)]
    # Partners at distance 1, 2, ... inside the bucket: each round is one comparison of arrays.
    place = np.arange(n) - starts[bucket] if n else np.empty(0, np.int64)
    left = np.where(large[bucket], 0, sizes[bucket] - 1 - place) if n else np.empty(0, np.int64)
    distance, active = 1, np.flatnonzero(left >= 1)
    while len(active):
        pairs.append(np.stack([documents[active], documents[active + distance]], axis=1))
        distance += 1
        active = active[left[active] >= distance]
    for b in np.flatnonzero(large):
        members = documents[starts[b] : starts[b] + sizes[b]]
        pairs += [
            np.stack([np.full(len(members) - i - 1, members[i]), members[i + 1 :]], axis=1)
            for i in range(min(BEST_OF_BUCKET, len(members)))
        ]
    counts = {
        "buckets": int((sizes > 1).sum()),
        "oversized_buckets": int(large.sum()),
        "documents_in_oversized_buckets": int(sizes[large].sum()),
        "largest_bucket": int(sizes.max(initial=0)),
    }
    return np.concatenate(pairs), counts


def merge(proposals: list[Ints], num_documents: int) -> tuple[Ints, npt.NDArray[np.uint64]]:
    """The distinct pairs of all bands as (worse, better), ascending, and for each a bit for every band that has it."""
    keys = np.concatenate(
        [p[:, 1].astype(np.uint64) * np.uint64(num_documents) + p[:, 0].astype(np.uint64) for p in proposals]
    )
    bits = np.concatenate([np.full(len(p), 1 << b, np.uint64) for b, p in enumerate(proposals)])
    if len(keys) == 0:
        return np.empty((0, 2), np.int64), np.empty(0, np.uint64)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    worse, better = np.divmod(keys[first], np.uint64(num_documents))
    return np.stack([worse, better], axis=1).astype(np.int64), np.bitwise_or.reduceat(bits[order], first)


def write_sets(path: Path, rows: Ints, ngram: int, out: Path) -> Ints:
    """Write the shingle sets of the texts at the (ascending) rows of a part as raw uint64; return their offsets."""
    sizes, first, done = [0], 0, 0
    with out.open("wb") as file:
        for batch in iter_documents(path, ["text"], rows=512) if len(rows) else ():
            end = int(np.searchsorted(rows, first + len(batch)))
            if end > done:
                texts = batch.column("text").take(rows[done:end] - first)
                sets, offsets = shingle(columns.from_arrow(texts), n=ngram, sets=True)
                sets.tofile(file)
                sizes += np.diff(offsets).tolist()
            first, done = first + len(batch), end
    return np.cumsum(sizes, dtype=np.int64)


def resolve(pairs: Ints, num_documents: int) -> npt.NDArray[np.bool_]:
    """Who goes: (N,) True for each document that is a duplicate of one that stays.

    `pairs` are verified duplicates (worse, better). The answer is that of going through all documents from the best to
    the worst and removing each that is a duplicate of one kept so far; here in rounds over the arrays: who has no
    better duplicate left stays, who is a duplicate of one that stays goes.
    """
    removed = np.zeros(num_documents, bool)
    settled = np.ones(num_documents, bool)
    settled[pairs[:, 0]] = False
    open_pairs = pairs
    while len(open_pairs):
        worse, better = open_pairs[:, 0], open_pairs[:, 1]
        goes = worse[settled[better] & ~removed[better]]
        removed[goes] = settled[goes] = True
        # Of what is left, only pairs whose better side is undecided still hold the worse side open.
        open_pairs = open_pairs[~settled[worse] & ~settled[better]]
        waiting = np.zeros(num_documents, bool)
        waiting[open_pairs[:, 0]] = True
        settled[worse[~waiting[worse]]] = True
    return removed


def best_survivor(pairs: Ints, jaccard: npt.NDArray[np.float64], removed: npt.NDArray[np.bool_], rank: Ints) -> Ints:
    """Of each removed document the pair (its index) with the surviving duplicate that is most similar, then best."""
    candidates = np.flatnonzero(removed[pairs[:, 0]] & ~removed[pairs[:, 1]])
    order = candidates[np.lexsort([rank[pairs[candidates, 1]], -jaccard[candidates], pairs[candidates, 0]])]
    worse = pairs[order, 0]
    return order[np.concatenate([[True], worse[1:] != worse[:-1]])] if len(order) else order
