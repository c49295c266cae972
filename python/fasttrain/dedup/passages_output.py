"""What a part hands on: texts without their cuts, documents too short afterwards dropped, and the ledger."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttrain.dedup.exchange import Words
from fasttrain.dedup.passages_config import FUZZY, LINE, PARAGRAPH, RULES, SPAN, SUBSTRING, PassagesConfig
from fasttrain.formats import document, ledger
from fasttrain.formats.part import PartWriter
from fasttrain.formats.rewrite import Rewrite
from fasttrain.formats.stage import documents_bytes, evidence
from fasttrain.text import columns

SPANS = 8  # of a document that the ledger names
LONGEST = 20  # cuts of a part that its figures name
WORD = 64
"""Bytes within which white space is looked for; some scripts have none."""
SPACE = frozenset(b" \t\n\r\v\f")
COUNTED = ("documents", "edited", "dropped", "bytes", "bytes_removed", *(f"bytes_{r}" for r in RULES))


def fitted(text: bytes, begin: int, end: int, rule: int, whole_words: bool) -> tuple[int, int]:
    """The cut as it is made: a line with its newline, a run with the space after it, a paragraph with the empty lines
    after it, a byte string shrunk to whole code points, or words. begin >= end: nothing is left of it."""
    size = len(text)
    if rule == LINE:
        return begin, end + (end < size)
    if rule == SPAN:
        return begin, end + (end < size and text[end] in SPACE)
    if rule == PARAGRAPH:
        while end < size and text[end] in b"\r\n":
            end += 1
        return begin, end
    if whole_words:
        begin = next((b for b in range(begin, min(begin + WORD, end)) if b == 0 or text[b - 1] in SPACE), begin)
        stops = range(end, max(end - WORD, begin), -1)
        end = next((e for e in stops if e == size or text[e] in SPACE or text[e - 1] in SPACE), end)
    while begin < end and text[begin] & 0xC0 == 0x80:
        begin += 1
    while end > begin and end < size and text[end] & 0xC0 == 0x80:
        end -= 1
    return begin, end


def union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans that do not touch."""
    out: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((begin, end))
    return out


def without(text: bytes, spans: list[tuple[int, int]]) -> bytes:
    """The text without the spans of a union."""
    edges = [0, *(e for span in spans for e in span), len(text)]
    return b"".join(text[a:b] for a, b in zip(edges[::2], edges[1::2]))


def _whole(cuts: list[list[int]]) -> list[list[int]]:
    """The cuts of one document; byte strings that overlap or touch are one, a copy of what its first window copies.

    Sorts of different blocks may each find a part of one, and a later copy of its first window: the earliest counts.
    """
    others = [c for c in cuts if c[4] != SUBSTRING]
    strings = [c for c in cuts if c[4] == SUBSTRING]
    earliest: dict[int, tuple[int, int]] = {}
    for begin, _, survivor, where, *_ in strings:
        earliest[begin] = min(earliest.get(begin, (survivor, where)), (survivor, where))
    return others + [[b, e, *earliest[b], SUBSTRING, 0] for b, e in union([(c[0], c[1]) for c in strings])]


def _near(begin: int, end: int, survivor: int, where: int, bits: int, name: Callable[[int], tuple[str, str]]) -> Any:
    """What the ledger says of a near copy: where it stood, what stays in its place, how similar it is to that."""
    doc_id, origin = name(survivor)
    return {"begin": begin, "end": end, "survivor": doc_id, "survivor_origin": origin, "survivor_begin": where,
            "score": float(np.int64(bits).view(np.float64))}  # fmt: skip


def write_part(
    path: Path,
    first: int,
    cuts: Words,
    name: Callable[[int], tuple[str, str]],
    writer: PartWriter,
    config: PassagesConfig,
) -> None:
    """Write one part.

    Args:
        first: number of its first document. cuts: (n, 6) of its documents, in any order.
        name: doc_id and origin of a document.
    """
    cuts = cuts[np.lexsort(cuts.T[[3, 5, 2, 1, 0]])]
    by_source: dict[str, Counter[str]] = {}
    longest: list[tuple[int, int, int, int, int, int]] = []
    done = first
    unit = LINE if config.fuzzy is not None and config.fuzzy.unit == "line" else PARAGRAPH
    with Rewrite(path, writer, rows=1024) as out:
        for batch in out:
            n = len(batch)
            texts, sources = columns.from_arrow(batch.column("text")), batch.column("source").to_pylist()
            decision, reason, found = [ledger.KEPT] * n, [""] * n, ["{}"] * n
            score: list[float | None] = [None] * n
            for source, size in zip(sources, np.diff(texts.offsets).tolist()):
                counts = by_source.setdefault(source, Counter(dict.fromkeys(COUNTED, 0)))
                counts["documents"] += 1
                counts["bytes"] += size
            here = cuts[slice(*np.searchsorted(cuts[:, 0], np.array([done, done + n], np.uint64)))].astype(np.int64)
            edges = np.searchsorted(here[:, 0], np.arange(done, done + n + 1)).tolist()
            new: dict[int, bytes] = {}
            for i in np.unique(here[:, 0] - done).tolist():
                text, counts = texts[i], by_source[sources[i]]
                made, near = [], []
                for begin, end, survivor, where, rule, score_bits in _whole(here[edges[i] : edges[i + 1], 1:].tolist()):
                    low, high = fitted(text, begin, end, unit if rule == FUZZY else rule, config.whole_words)
                    if low < high:
                        made.append((low, high, survivor, where + low - begin if rule == SUBSTRING else 0, rule))
                    if rule == FUZZY:
                        near.append((begin, end, survivor, where, score_bits))
                if not made:
                    continue
                spans = union([m[:2] for m in made])
                left = without(text, spans)
                removed = len(text) - len(left)
                is_short = len(left) < config.least_left_bytes or len(left) < config.least_left_share * len(text)
                rules = sorted({m[4] for m in made})
                for r in rules:
                    counts[f"bytes_{RULES[r]}"] += sum(e - b for b, e in union([m[:2] for m in made if m[4] == r]))
                best = max(made, key=lambda m: (m[1] - m[0], -m[0], -m[2]))
                values: dict[str, Any] = {"bytes_removed": removed, "cuts": len(spans), "spans": spans[:SPANS]}
                if best[2] != done + i:
                    values["survivor"], values["survivor_origin"] = name(best[2])
                if near:
                    values["near"] = [_near(*n, name) for n in near]  # all: each was decided by a similarity of its own
                joined = "+".join(f"passages:{RULES[r]}" for r in rules)
                if is_short:
                    decision[i], reason[i], values["rules"] = ledger.DROPPED, "passages:too_short", joined
                else:
                    decision[i], reason[i] = ledger.EDITED, joined
                score[i], found[i] = removed / len(text), evidence(**values)
                new[i] = left
                counts["dropped" if is_short else "edited"] += 1
                counts["bytes_removed"] += len(text) if is_short else removed
                longest += [(b - e, done + i, b, e, s, w) for b, e, s, w, r in made if r == SUBSTRING]
            longest = sorted(longest)[:LONGEST]
            writer.decide("passages", batch, decision=decision, reason=reason, score=score, evidence=found)
            kept = _edited(batch, texts, new, [d != ledger.DROPPED for d in decision])
            out.write(batch, kept)
            writer.counts["edited"] += decision.count(ledger.EDITED)
            writer.bytes_in += documents_bytes(batch)
            writer.bytes_out += documents_bytes(kept)
            done += n
    writer.extra = {"sources": by_source, "longest": longest}


def _edited(batch: Any, texts: columns.TextColumn, new: dict[int, bytes], keep: list[bool]) -> Any:
    if not new:
        return batch
    values = columns.from_texts([new[i] if i in new else texts[i] for i in range(len(texts))])
    at = document.SCHEMA.get_field_index("text")
    return batch.set_column(at, document.SCHEMA.field(at), columns.to_arrow(values)).filter(pa.array(keep))
