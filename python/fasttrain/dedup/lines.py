"""Lines and paragraphs that documents share: found by the hash of their words, counted by scope.

units       each part: (key, scope, document, span) of every line and paragraph that is long enough
repeats     each partition of keys: which of them go, and the document that keeps the first
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from fasttrain.dedup.exchange import Ints, Words, mix
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.line_hashes import line_hashes
from fasttrain.dedup.passages_config import LINE, PARAGRAPH, PassagesConfig
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

SPAN_BITS = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)
_SCOPE_SEED = np.uint64(0x9E3779B97F4A7C15)
_URL = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#]*@)?(?P<host>[^/?#:]+)"


def scope_names(batch: Any, scope: str) -> list[str]:
    """The scope of each document by name."""
    if scope == "global":
        return [""] * len(batch)
    source = batch.column("source")
    if scope == "source":
        return list(source.to_pylist())
    host = pc.utf8_lower(pc.struct_field(pc.extract_regex(batch.column("origin"), _URL), 0))
    return list(pc.coalesce(host, source).to_pylist())


def scope_keys(names: list[str]) -> Words:
    """64 bits for each name."""
    return np.ascontiguousarray(hash128(columns.from_texts(names))[:, 0])


def line_spans(texts: columns.TextColumn) -> tuple[Ints, Ints, Ints]:
    """(text, begin, end) of every line of every text, in places of `texts.data`; the newline belongs to no line."""
    first, last = int(texts.offsets[0]), int(texts.offsets[-1])
    breaks = np.flatnonzero(texts.data[first:last] == 10) + first
    ends = np.sort(np.concatenate([breaks, texts.offsets[1:]]), kind="stable")
    count = np.diff(np.searchsorted(breaks, texts.offsets)) + 1
    of = np.repeat(np.arange(len(texts)), count)
    begins = np.empty_like(ends)
    begins[1:] = ends[:-1]
    at_break = np.ones(len(ends), bool)
    starts = np.cumsum(count) - count
    at_break[starts] = False
    begins += at_break
    begins[starts] = texts.offsets[:-1]
    return of, begins, ends


def paragraph_spans(texts: columns.TextColumn, of: Ints, begins: Ints, ends: Ints) -> tuple[Ints, Ints, Ints]:
    """Runs of lines that hold more than a carriage return."""
    size = ends - begins
    full = size > 1
    one = np.flatnonzero(size == 1)
    full[one] = texts.data[begins[one]] != 13
    joined = np.zeros(len(full) + 1, bool)  # with the line before
    joined[1:-1] = full[1:] & full[:-1] & (of[1:] == of[:-1])
    starts = np.flatnonzero(full & ~joined[:-1])
    stops = np.flatnonzero(full & ~joined[1:])
    return of[starts], begins[starts], ends[stops]


def takes_part(batch: Any, config: PassagesConfig) -> npt.NDArray[np.bool_]:
    """Which documents of a batch are of no exempt source."""
    return ~np.isin(np.array(batch.column("source").to_pylist(), object), list(config.exempt))


def check_sizes(texts: columns.TextColumn) -> None:
    """Raise unless a place in a text fits in SPAN_BITS."""
    if len(texts) and int(np.diff(texts.offsets).max()) >= 1 << 32:
        raise ValueError("passages: a document must have fewer than 2^32 bytes; split it, or exempt its source")


def spans_of(texts: columns.TextColumn, of: Ints, begin: Ints, end: Ints) -> Words:
    """begin << 32 | end, in bytes of the text, of spans in places of `texts.data`."""
    start = texts.offsets[of]
    return (begin - start).astype(np.uint64) << SPAN_BITS | (end - start).astype(np.uint64)


def ends_of(spans: Words) -> tuple[Ints, Ints]:
    """begin and end of spans_of."""
    return (spans >> SPAN_BITS).astype(np.int64), (spans & LOW).astype(np.int64)


def overlapping(begin: Ints, end: Ints, cuts: tuple[Ints, Ints]) -> npt.NDArray[np.bool_]:
    """Which spans overlap one of the cuts, whose (begin, end) ascend and do not overlap one another."""
    at = np.searchsorted(cuts[1], begin, side="right")
    found: npt.NDArray[np.bool_] = np.append(cuts[0], np.iinfo(np.int64).max)[at] < end
    return found


def units(batch: Any, first: int, config: PassagesConfig, cuts: tuple[Ints, Ints]) -> Iterator[Words]:
    """(n, 4) key, scope, document, begin << 32 | end of the lines and paragraphs of a batch. Document numbers go from
    `first`; a kind is told from the other by the key. What overlaps one of the `cuts` (in places of the column's data)
    takes no part."""
    texts = columns.from_arrow(batch.column("text"))
    check_sizes(texts)
    if len(texts) == 0:
        return
    scope, partakes = scope_keys(scope_names(batch, config.scope)), takes_part(batch, config)
    of, begins, ends = line_spans(texts)
    kinds = []
    if config.lines:
        kinds.append((LINE, config.line_words, of, begins, ends))
    if config.paragraphs:
        kinds.append((PARAGRAPH, config.paragraph_words, *paragraph_spans(texts, of, begins, ends)))
    for kind, least, text, begin, end in kinds:
        some = partakes[text] & ~overlapping(begin, end, cuts)
        text, begin, end = text[some], begin[some], end[some]
        hashes, words = line_hashes(texts.data, begin, end, digits=not config.fold_digits)
        long = words >= least
        text, begin, end, key = text[long], begin[long], end[long], hashes[long]
        key = mix(key + mix(scope[text] + _SCOPE_SEED)) & ~np.uint64(1) | np.uint64(kind)
        yield records_of(key, scope[text], text + first, spans_of(texts, text, begin, end))


def domain_counts(batch: Any, config: PassagesConfig) -> Counter[int]:
    """Documents of each scope in a batch, those of exempt sources left out."""
    keys = scope_keys(scope_names(batch, config.scope))
    found, count = np.unique(keys[takes_part(batch, config)], return_counts=True)
    return Counter(dict(zip(found.tolist(), count.tolist())))


def repeats(
    records: Words, scopes: tuple[npt.NDArray[np.uint64], Ints], config: PassagesConfig
) -> tuple[Words, list[tuple[int, int, int, int]]]:
    """What goes: (n, 5) document, begin, end, surviving document (itself when none survives), rule.

    Also the boilerplate lines: (documents, scope, first document, begin << 32 | end), most frequent first.
    Args:
        records: `units` of whole keys. scopes: sorted keys of scopes, and how many documents each has.
    """
    records = records[np.lexsort((records[:, 3], records[:, 2], records[:, 0]))]
    key, document = records[:, 0], records[:, 2]
    new = np.ones(len(records), bool)
    new[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    if len(starts) == 0:
        return np.empty((0, 5), np.uint64), []
    group = np.cumsum(new) - 1
    other = new.copy()
    other[1:] |= document[1:] != document[:-1]
    documents = np.add.reduceat(other.astype(np.int64), starts)
    kind = key[starts] & np.uint64(1)
    of_scope = scopes[1][np.searchsorted(scopes[0], records[starts, 1])]
    is_line = kind == LINE
    many = (documents > config.line_documents) & (documents > config.line_fraction * of_scope)
    goes = np.where(is_line, many, documents > 1)
    spare = ~is_line | (config.keep_line == "first")
    cut = goes[group] & ~(new & spare[group])
    survivor = np.where(spare[group], document[starts][group], document)
    span = records[:, 3]
    found = records_of(document, span >> SPAN_BITS, span & LOW, survivor, (key & np.uint64(1)))[cut]
    top = np.flatnonzero(goes & is_line)
    lines = [
        (int(documents[g]), int(records[starts[g], 1]), int(document[starts[g]]), int(span[starts[g]])) for g in top
    ]
    return found, sorted(lines, key=lambda x: (-x[0], x[2], x[3]))
