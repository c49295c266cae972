"""Lines, paragraphs and runs of sentences that repeat: found by the hash of their words, counted by scope.

units       each part: (key, scope, document, span) of every line and paragraph that is long enough, and of every run
repeats     each partition of keys: which of them go, and the document that keeps the first

Runs are C4's rule ("all but one of any three-sentence span occurring more than once") as in datatrove's SentenceDedup:
every n consecutive sentences form a run, a run whose words are those of an earlier one is removed, a sentence goes when
any of its runs does. We differ in this: earlier is by the order of preference of documents, not by the number within a
file; a run that overlaps its first copy stays, so that the first copy stays whole; sentences are split by a rule, not
by a model of English (equal texts are split alike in both); those without words do not count; runs are looked for in a
scope; a document that keeps too little is dropped by `least_left_bytes` and `least_left_share`, not by its words.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from fasttrain.dedup.exchange import Ints, Words, mix
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.line_hashes import line_hashes
from fasttrain.dedup.passages_config import LINE, PARAGRAPH, SPAN, PassagesConfig
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

SPAN_BITS = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)
KIND = np.uint64(7)
"""Bits of a key that hold its kind."""
_ENDS, _CLOSERS, _BLANKS = (np.frombuffer(b, np.uint8) for b in (b".?!", b"\"')]}", b" \t\r"))
_WIDE_ENDS = ("\u3002", "\uff01", "\uff1f")
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


def sentence_spans(texts: columns.TextColumn) -> tuple[Ints, Ints, Ints]:
    """As line_spans, of sentences (PassagesConfig.span_of says what one is)."""
    first, last = int(texts.offsets[0]), int(texts.offsets[-1])
    data = texts.data[first:last]
    blank = np.flatnonzero(np.isin(data, _BLANKS))
    start = texts.offsets[np.searchsorted(texts.offsets, blank + first, side="right") - 1] - first
    at = blank - 1  # back over closing marks to what may end a sentence
    for _ in range(2):
        at -= (at >= start) & np.isin(data[at], _CLOSERS)
    stops = blank[(at >= start) & np.isin(data[at], _ENDS)]
    wide = [np.empty(0, np.int64)]
    for mark in _WIDE_ENDS:
        a, b, c = mark.encode()
        here = np.flatnonzero(data[2:] == c)
        wide.append(here[(data[here] == a) & (data[here + 1] == b)] + 3)
    after = np.concatenate(wide)
    breaks = np.concatenate([np.flatnonzero(data == 10), stops])
    ends = np.sort(np.concatenate([breaks + first, after + first, texts.offsets[1:]]))
    begins = np.sort(np.concatenate([breaks + first + 1, after + first, texts.offsets[:-1]]))
    # Every text has one more sentence than marks between them; a mark behind its last byte is still its own.
    inner = np.sort(np.concatenate([breaks + first, after + first - 1]))
    count = np.diff(np.searchsorted(inner, texts.offsets)) + 1
    return np.repeat(np.arange(len(texts)), count), begins, ends


def runs(hashes: Words, words: Ints, of: Ints, is_free: npt.NDArray[np.bool_], n: int) -> tuple[Words, Ints, Ints]:
    """(key, first, last) of every n consecutive units of one text that have words and are free.

    Args:
        hashes, words, of, is_free: of each unit, its hash and words, its text, whether it may be cut.
    """
    full = np.flatnonzero(words > 0)
    count = max(0, len(full) - n + 1)
    first, last = full[:count], full[len(full) - count :]
    key, free = hashes[first], np.ones(count, bool)
    for j in range(n):
        unit = full[j : j + count]
        free &= is_free[unit]
        key = mix(key + np.uint64(j)) + hashes[unit]
    some = free & (of[first] == of[last])
    return key[some], first[some], last[some]


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


def units(batch: Any, ranks: Words, config: PassagesConfig, cuts: tuple[Ints, Ints]) -> Iterator[Words]:
    """(n, 4) key, scope, document, begin << 32 | end of the lines and paragraphs of a batch, whose documents have
    these ranks; a kind is told from the other by the key. What overlaps one of the `cuts` (in places of the column's
    data) takes no part."""
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
        yield records_of(_keyed(key, scope[text], kind), scope[text], ranks[text], spans_of(texts, text, begin, end))
    if config.spans:
        text, begin, end = (of, begins, ends) if config.span_of == "line" else sentence_spans(texts)
        hashes, words = line_hashes(texts.data, begin, end, digits=not config.fold_digits)
        key, a, b = runs(hashes, words, text, partakes[text] & ~overlapping(begin, end, cuts), config.spans)
        text, begin, end = text[a], begin[a], end[b]
        yield records_of(_keyed(key, scope[text], SPAN), scope[text], ranks[text], spans_of(texts, text, begin, end))


def _keyed(hashes: Words, scope: Words, kind: int) -> Words:
    """Keys of units of a kind: equal where hash and scope are."""
    return mix(hashes + mix(scope + _SCOPE_SEED)) & ~KIND | np.uint64(kind)


def domain_counts(batch: Any, config: PassagesConfig) -> Counter[int]:
    """Documents of each scope in a batch, those of exempt sources left out."""
    keys = scope_keys(scope_names(batch, config.scope))
    found, count = np.unique(keys[takes_part(batch, config)], return_counts=True)
    return Counter(dict(zip(found.tolist(), count.tolist())))


def repeats(
    records: Words, documents_of: Callable[[Words], Ints], config: PassagesConfig
) -> tuple[Words, list[tuple[int, int, int, int]]]:
    """What goes: (n, 5) document, begin, end, surviving document (itself when none survives), rule.

    Also the boilerplate lines: (documents, scope, first document, begin << 32 | end).
    Args:
        records: `units` of whole keys. documents_of: how many documents scopes have.
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
    kind = key[starts] & KIND
    of_scope = documents_of(records[starts, 1])
    is_line = kind == LINE
    many = (documents > config.line_documents) & (documents > config.line_fraction * of_scope)
    goes = np.where(is_line, many, (documents > 1) | (kind == SPAN))
    spare = ~is_line | (config.keep_line == "first")
    cut = goes[group] & ~(new & spare[group])
    survivor = np.where(spare[group], document[starts][group], document)
    span = records[:, 3]
    overlaps = (document == document[starts][group]) & (span >> SPAN_BITS < (span & LOW)[starts][group])
    cut &= ~(overlaps & (kind == SPAN)[group])
    found = records_of(document, span >> SPAN_BITS, span & LOW, survivor, key & KIND)[cut]
    top = np.flatnonzero(goes & is_line)
    lines = [
        (int(documents[g]), int(records[starts[g], 1]), int(document[starts[g]]), int(span[starts[g]])) for g in top
    ]
    return found, lines
