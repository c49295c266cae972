"""Byte strings that stand twice in the corpus, exactly: anchors propose where, a suffix array decides what.

    first(w) = the earliest place (document, then byte) of a window w of min_bytes inside one document
    a window is cut when first(w) is another place that does not overlap it; a cut is a union of such windows

Every window holds an anchor at a place that its bytes decide (winnow), so equal windows meet in the partition of their
anchor. A partition sorts the surroundings of its anchors that occur twice, not the corpus, so memory is bounded by the
number of partitions. Windows that lie in it with another anchor are found in part only; what is found is true.

    anchors     each part: hash and document of every anchor, and the text in which a window can hold it
    twice       each partition of hashes: anchors whose hash occurs twice, to their parts
    surrounds   each part: the text around them
    sorted      each partition: suffix array of that text, windows with an earlier copy, joined into cuts
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.exchange import Ints, Words
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.suffix_array import suffix_array


def twice(records: Words) -> Words:
    """Those of (n, 3) hash, document, span whose hash is not alone; whole hashes must be given."""
    records = records[np.argsort(records[:, 0], kind="stable")]
    same = np.zeros(len(records) + 1, bool)
    np.equal(records[1:, 0], records[:-1, 0], out=same[1:-1])
    return records[same[1:] | same[:-1]]


def surrounds(document: Ints, low: Ints, high: Ints) -> tuple[Ints, Ints, Ints]:
    """(document, begin, end) of the text around anchors; what overlaps or touches is joined.

    Args:
        document, low, high: the text in which a window can hold an anchor, of each anchor (one at least); all ascend.
    """
    new = np.ones(len(low), bool)
    new[1:] = (document[1:] != document[:-1]) | (low[1:] > high[:-1])
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(low)) - 1
    return document[starts], low[starts], high[stops]


def repeated(
    text: npt.NDArray[np.uint8], sizes: Ints, document: Ints, begin: Ints, least: int, scope: Any = None
) -> Words:
    """(n, 5) document, begin, end, earlier document, where there: the windows of `least` bytes that have an earlier
    copy which does not overlap them, joined.

    Args:
        text: pieces one after another. sizes, document, begin: of each piece, ascending by document and begin.
        scope: of each piece, a number; copies count inside a scope only.
    """
    n = len(text)
    starts = np.cumsum(sizes) - sizes
    sa, lcp = suffix_array(text)
    same = np.zeros(n + 1, bool)
    np.greater_equal(lcp, least, out=same[:n])
    del lcp
    at = np.flatnonzero(same[1:] | same[:-1])
    new = ~same[:n][at]
    place = sa[at].astype(np.int64)
    del sa, same
    group = np.cumsum(new)
    piece = np.searchsorted(starts, place, side="right") - 1
    whole = place + least <= starts[piece] + sizes[piece]
    place, group, piece = place[whole], group[whole], piece[whole]
    if len(place) == 0:
        return np.empty((0, 5), np.uint64)
    of_scope = np.zeros(len(place), np.int64) if scope is None else scope[piece]
    order = np.lexsort((place, of_scope, group))
    place, group, piece, of_scope = place[order], group[order], piece[order], of_scope[order]
    new = np.ones(len(place), bool)
    new[1:] = (group[1:] != group[:-1]) | (of_scope[1:] != of_scope[:-1])
    head = np.flatnonzero(new)[np.cumsum(new) - 1]
    byte = place - starts[piece] + begin[piece]
    first_document, first_byte = document[piece[head]], byte[head]
    cut = (document[piece] != first_document) | (byte >= first_byte + least)
    found = np.stack([document[piece], byte, first_document, first_byte], axis=1)[cut]
    if len(found) == 0:
        return np.empty((0, 5), np.uint64)
    return join(found[np.lexsort((found[:, 1], found[:, 0]))], least)


def join(windows: Ints, least: int) -> Words:
    """Join windows into (m, 5) cuts with begin and end: those that touch or overlap and copy a place that moves along.

    Args:
        windows: (n, 4), n > 0, document, byte, earlier document, byte there; ascending.
    """
    document, byte = windows[:, 0], windows[:, 1]
    new = np.ones(len(windows), bool)
    new[1:] = (document[1:] != document[:-1]) | (byte[1:] > byte[:-1] + least)
    new[1:] |= (windows[1:, 2] != windows[:-1, 2]) | (np.diff(windows[:, 3]) != np.diff(byte))
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(windows)) - 1
    return records_of(document[starts], byte[starts], byte[stops] + least, windows[starts, 2], windows[starts, 3])
