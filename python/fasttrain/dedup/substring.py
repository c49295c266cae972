"""Byte strings that stand twice in the corpus, exactly: anchors propose where, a suffix array decides what.

    first(w) = the earliest place (document by rank, then byte) of a window w inside one document
    a window is cut when first(w) is another place that does not overlap it; a cut is a union of such windows

A window is min_bytes bytes, or the bytes from any place to where they hold min_tokens words, measured by themselves: up
to the first character of the last one. No window of words is the beginning of another, as where it ends is told by its
own bytes, so the suffixes that begin with one window are neighbours in the suffix array in both cases. The cut of a
window of words goes on for as long as its copy is the same, to the end of the last word and what follows it.

A window has `least_bytes` or more, so it holds an anchor among its first `least_bytes`, at a place that its bytes
decide (winnow): equal windows meet in the partition of their anchor. A partition sorts the surroundings of its anchors
that occur twice, not the corpus, so memory is bounded by the number of partitions. Windows that lie in it with another
anchor are found in part only: of bytes, what is found is true; of words, where it also matters which copy is the first,
they are left to their own partition.

    anchors     each part: hash and document of every anchor, and the text in which a window can hold it
    twice       each partition of hashes: anchors whose hash occurs twice, to their parts
    surrounds   each part: the text around them
    sorted      each partition: suffix array of that text, windows with an earlier copy, joined into cuts
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.exchange import Ints, Words
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.dedup.suffix_array import LIMIT, suffix_array
from fasttrain.dedup.winnow import winnow
from fasttrain.text.columns import TextColumn
from fasttrain.text.word_places import word_places

TAIL = 256
"""Bytes after a window of words within which the end of its cut is looked for."""
BLOCK = 1 << 22  # bytes of windows whose anchors are looked for at once


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


def reach(segments: TextColumn, segment: Ints, begin: Ints, config: PassagesConfig) -> tuple[Ints, Ints]:
    """(low, high) the text in which a window can hold each anchor, in places of `segments.data`.

    Args:
        segment, begin: the segment of each anchor, and its first byte.
    """
    k, _ = config.anchor
    low = np.maximum(begin - (config.least_bytes - k), segments.offsets[segment])
    stop = segments.offsets[segment + 1]
    if config.min_tokens is None:
        return low, np.minimum(begin + config.least_bytes, stop)
    # The last window that can hold an anchor begins with it; then the rest of its last word and what follows, if short.
    places, words = word_places(segments)
    last = np.searchsorted(places[:, 2], begin) + config.min_tokens - 1
    is_whole = last < words[segment + 1]
    end = np.append(places[:, 1], 0)[np.where(is_whole, last, len(places))]
    follow = np.append(places[:, 0], np.iinfo(np.int64).max)[np.minimum(last + 1, len(places))]
    return low, np.where(is_whole, np.minimum(np.minimum(follow, end + TAIL), stop), stop)


def windows(text: npt.NDArray[np.uint8], least: int, tokens: int | None) -> npt.NDArray[np.int32] | int:
    """Bytes of the window at every place of a text: `least`, or those that hold so many tokens (LIMIT: more than are
    left)."""
    if tokens is None:
        return least
    n = len(text)
    places, _ = word_places(TextColumn(text, np.array([0, n])))
    before = np.bincount(places[:, 2] + 1, minlength=n + 1)[:n]  # words that are over
    last = np.cumsum(before, out=before) + (tokens - 1)
    del before
    ends = np.append(places[:, 1], LIMIT)[np.minimum(last, len(places))]
    del last
    ends -= np.arange(n)
    return np.minimum(ends, LIMIT, out=ends).astype(np.int32) if len(places) >= tokens else np.full(n, LIMIT, np.int32)


def repeated(
    text: npt.NDArray[np.uint8],
    sizes: Ints,
    document: Ints,
    begin: Ints,
    config: PassagesConfig,
    scope: Any = None,
    mine: Callable[[Words], npt.NDArray[np.bool_]] | None = None,
) -> Words:
    """(n, 5) document, begin, end, earlier document, where there: the windows that have an earlier copy which does not
    overlap them, joined.

    Args:
        text: pieces one after another. sizes, document, begin: of each piece, ascending by document and begin.
        scope: of each piece, a number; copies count inside a scope only.
        mine: which hashes of anchors are those of this partition; all when None.
    """
    n = len(text)
    starts = np.cumsum(sizes) - sizes
    window = windows(text, config.least_bytes, config.min_tokens)
    sa, lcp = suffix_array(text)
    same = np.zeros(n + 1, bool)
    np.greater_equal(lcp, window if isinstance(window, int) else window[sa], out=same[:n])
    del lcp
    at = np.flatnonzero(same[1:] | same[:-1])
    new = ~same[:n][at]
    place = sa[at].astype(np.int64)
    del sa, same
    group = np.cumsum(new)
    piece = np.searchsorted(starts, place, side="right") - 1
    size = np.full(len(place), window, np.int64) if isinstance(window, int) else window[place].astype(np.int64)
    del window
    whole = place + size <= starts[piece] + sizes[piece]
    if config.min_tokens is not None and mine is not None:
        whole[whole] = mine(own_anchors(text, place[whole], group[whole], config))
    place, group, piece, size = place[whole], group[whole], piece[whole], size[whole]
    if len(place) == 0:
        return np.empty((0, 5), np.uint64)
    of_scope = np.zeros(len(place), np.int64) if scope is None else scope[piece]
    order = np.lexsort((place, of_scope, group))
    place, group, piece, of_scope, size = place[order], group[order], piece[order], of_scope[order], size[order]
    new = np.ones(len(place), bool)
    new[1:] = (group[1:] != group[:-1]) | (of_scope[1:] != of_scope[:-1])
    head = np.flatnonzero(new)[np.cumsum(new) - 1]
    byte = place - starts[piece] + begin[piece]
    first_document, first_byte = document[piece[head]], byte[head]
    cut = (document[piece] != first_document) | (byte >= first_byte + size)
    found = np.stack([document[piece], byte, first_document, first_byte, size, place, place[head]], axis=1)[cut]
    if len(found) == 0:
        return np.empty((0, 5), np.uint64)
    found = found[np.argsort(found[:, 5])]  # the order of places is that of documents and bytes
    first, last = runs(found)
    cuts = records_of(found[first, 0], found[first, 1], found[last, 1] + found[last, 4], *found[first, 2:4].T)
    if config.min_tokens is not None:
        cuts[:, 2] += tails(text, found[last], starts + sizes).astype(np.uint64)
    return cuts


def own_anchors(text: npt.NDArray[np.uint8], place: Ints, group: Ints, config: PassagesConfig) -> Words:
    """The hash of the anchor of each window: that of its first `least_bytes`.

    Args:
        place: where in the text windows begin. group: ascending; windows of one group are equal.
    """
    k, w = config.anchor
    least = config.least_bytes
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
    hashes = [np.empty(0, np.uint64)]
    step = max(1, BLOCK // least)
    for at in range(0, len(first), step):
        begins = place[first[at : at + step]]
        data = text[begins[:, None] + np.arange(least)].ravel()
        hashes.append(winnow(TextColumn(data, np.arange(len(begins) + 1) * least), k, w)[0])
    return np.repeat(np.concatenate(hashes), np.diff(np.append(first, len(group))))


def runs(found: Ints) -> tuple[Ints, Ints]:
    """The first and the last of each run of windows that touch or overlap and copy a place that moves along.

    Args:
        found: (n, 5 or more), n > 0, document, byte, earlier document, byte there, bytes; ascending.
    """
    document, byte = found[:, 0], found[:, 1]
    new = np.ones(len(found), bool)
    new[1:] = (document[1:] != document[:-1]) | (byte[1:] > byte[:-1] + found[:-1, 4])
    new[1:] |= (found[1:, 2] != found[:-1, 2]) | (np.diff(found[:, 3]) != np.diff(byte))
    first = np.flatnonzero(new)
    return first, np.append(first[1:], len(found)) - 1


def tails(text: npt.NDArray[np.uint8], found: Ints, stops: Ints) -> Ints:
    """How many bytes after each window its copy goes on the same, up to the next word, and at the most TAIL.

    Args:
        found: (n, 7) document, byte, earlier document, byte there, bytes; where window and copy are in the text.
        stops: where pieces end.
    """
    here, there = (found[:, i] + found[:, 4] for i in (5, 6))
    places, _ = word_places(TextColumn(text, np.array([0, len(text)])))
    follow = np.append(places[:, 0], len(text))[np.searchsorted(places[:, 0], here)]
    room = np.minimum(np.minimum(follow - here, TAIL), stops[np.searchsorted(stops, there)] - there)
    room = np.minimum(room, stops[np.searchsorted(stops, here)] - here)
    # In one document the copy goes on to the window at the most: what is cut justifies nothing.
    room = np.where(found[:, 0] == found[:, 2], np.minimum(room, found[:, 5] - there), room)
    length = np.zeros(len(found), np.int64)
    going = np.flatnonzero(room > 0)
    while len(going):
        same = text[here[going] + length[going]] == text[there[going] + length[going]]
        going = going[same]
        length[going] += 1
        going = going[length[going] < room[going]]
    return length
