"""Near copies: pairs that a band proposes, the exact similarity of each.

Nothing is removed transitively: a document goes only when it is itself a verified duplicate of one that stays.
(Connected components over band collisions have put 51,160 unrelated books into one cluster.)
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from fasttrain.dedup.config import BEST_OF_BUCKET
from fasttrain.dedup.exact import groups
from fasttrain.dedup.exchange import Words

BLOCK = 1 << 16  # members of buckets that are paired at once


def propose(records: Words, max_bucket: int, num_indexed: int, counts: Counter[str]) -> Iterator[Words]:
    """Pairs (worse, better) of documents that share a band key and a scope, some buckets at a time.

    Args:
        records: (n, 2 or 3) key, scope if there are scopes, rank of the documents that take part.
        num_indexed: ranks below are of documents that stay in any case: no pairs among them.
        counts: what is to be reported of the buckets is added to it.
    """
    records, new = groups(records, records.shape[1] - 1)
    starts = np.append(np.flatnonzero(new), len(records))
    sizes = np.diff(starts)
    keep = np.repeat(sizes > 1, sizes)  # equal keys in different scopes
    records, sizes = records[keep], sizes[sizes > 1]
    starts = np.append(0, np.cumsum(sizes))
    large = sizes > max_bucket
    counts["buckets"] += len(sizes)
    counts["oversized_buckets"] += int(large.sum())
    counts["documents_in_oversized_buckets"] += int(sizes[large].sum())
    counts["largest_bucket"] = max(counts["largest_bucket"], int(sizes.max(initial=0)))
    # A document is paired with every better one of its bucket, or with the best few of an oversized bucket.
    place = np.arange(len(records)) - np.repeat(starts[:-1], sizes)
    begin = np.repeat(starts[:-1], sizes)
    partners = np.where(np.repeat(large, sizes), np.minimum(place, BEST_OF_BUCKET), place)
    rank = records[:, -1]
    for at in range(0, len(rank), BLOCK):
        number = partners[at : at + BLOCK]
        worse = np.repeat(np.arange(at, at + len(number)), number)
        within = np.arange(len(worse)) - np.repeat(np.cumsum(number) - number, number)
        pairs = np.stack([rank[worse], rank[begin[worse] + within]], axis=1)
        yield pairs[pairs[:, 0] >= num_indexed]


def merge(records: Words) -> Words:
    """(k, 3) the distinct pairs (worse, better) of all bands, ascending, and for each a bit for every band that has it.

    Args:
        records: (n, 3) worse, better, band.
    """
    if len(records) == 0:
        return records
    records = records[np.lexsort(records.T[::-1])]
    new = np.ones(len(records), bool)
    new[1:] = (records[1:, :2] != records[:-1, :2]).any(axis=1)
    first = np.flatnonzero(new)
    bits = np.bitwise_or.reduceat(np.uint64(1) << records[:, 2], first)
    return np.concatenate([records[first, :2], bits[:, None]], axis=1)


def resolve(pairs: Words) -> Words:
    """Who goes, ascending: each document that is a duplicate of one that stays.

    `pairs` are verified duplicates (worse, better). The answer is that of going through all documents from the best to
    the worst and removing each that is a duplicate of one kept so far; here in rounds over the arrays: who has no
    better duplicate left stays, who is a duplicate of one that stays goes.
    """
    names, local = np.unique(pairs, return_inverse=True)
    local = local.reshape(-1, 2)
    removed = np.zeros(len(names), bool)
    settled = np.ones(len(names), bool)
    settled[local[:, 0]] = False
    while len(local):
        worse, better = local[:, 0], local[:, 1]
        goes = worse[settled[better] & ~removed[better]]
        removed[goes] = settled[goes] = True
        # Of what is left, only pairs whose better side is undecided still hold the worse side open.
        local = local[~settled[worse] & ~settled[better]]
        waiting = np.zeros(len(names), bool)
        waiting[local[:, 0]] = True
        settled[worse[~waiting[worse]]] = True
    return names[removed]
