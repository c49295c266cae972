"""What is known of a batch of documents while the families are asked: decisions, evidence, what meta gains."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.core.errors import FormatError
from fasttrain.filter.family import NULL, Documents, Mask, Notes, Opinion, note_object, scalar
from fasttrain.filter.rules import Mode, Verdict
from fasttrain.formats import ledger
from fasttrain.formats.part import PartWriter


class Docket:
    """N documents: broken rules, the first of them that drops, edits and notes; filled family by family."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.dropped = np.zeros(n, np.bool_)
        self.score = np.full(n, np.nan)
        self.reasons: list[str] = []  # of all rules asked so far, R
        self._first = np.full(
            n, -1, np.int64
        )  # index into `reasons`: the rule that drops, or else the first tagged one
        self._fails: list[Mask] = []  # (N, some of R) each
        self.heard: list[tuple[Verdict, Mode, Mask]] = []  # every verdict, and the documents (N,) that were asked
        self._values: dict[str, Any] = {}  # rule in tag mode -> its values as a note
        self._told = np.zeros(n, np.bool_)
        self._edits: list[tuple[str, Mask, Notes]] = []
        self._notes: list[tuple[str, Any]] = []
        self._meta: dict[str, Any] = {}
        self._counts: list[tuple[str, npt.NDArray[np.integer[Any]]]] = []

    def record(self, opinion: Opinion, documents: Documents, asked: Mask) -> None:
        """Add what a family says; `documents` move on to what it left."""
        if opinion.verdict is not None:
            self._judge(opinion, asked)
        if opinion.told is not None:
            self._told |= opinion.told & asked
        if opinion.texts is not None:
            same = pc.equal(opinion.texts, documents.texts).to_numpy(zero_copy_only=False)
            changed = np.logical_not(same)
            named = {opinion.edit: changed} if isinstance(opinion.edit, str) else opinion.edit
            self._edits += [(name, changed & which, opinion.edit_evidence) for name, which in named.items()]
            documents.texts = opinion.texts
        if opinion.languages is not None:
            pairs = zip(opinion.languages, documents.languages, asked.tolist())
            documents.languages = [new if is_asked else old for new, old, is_asked in pairs]
        self._notes += [(key, _held(note, asked)) for key, note in opinion.evidence.items()]
        for key, note in opinion.meta.items():
            _add(self._meta, key, _held(note, asked))
        self._counts += [(key, np.where(asked, values, 0)) for key, values in opinion.counts.items()]
        documents.standing = ~self.dropped

    def _judge(self, opinion: Opinion, asked: Mask) -> None:
        verdict = opinion.verdict
        assert verdict is not None
        fails = verdict.fails & asked[:, None]
        drops = opinion.mode == "drop"
        new = np.flatnonzero(fails.any(axis=1) & ~self.dropped & (drops | (self._first < 0)))
        first = fails[new].argmax(axis=1)
        self.dropped[new] |= drops
        self.score[new] = verdict.values[new, first]
        self._first[new] = len(self.reasons) + first
        if not drops:
            for r, reason in enumerate(verdict.reasons):
                values, wanted = verdict.values[:, r], asked if opinion.scores == "all" else fails[:, r]
                if not wanted.any():
                    continue
                self._values[reason] = pa.array(values, mask=~(wanted & np.isfinite(values))).cast(pa.string())
        self.heard.append((verdict, opinion.mode, asked))
        self.reasons += verdict.reasons
        self._fails.append(fails)

    @property
    def fails(self) -> Mask:
        """(N, R) Which of `reasons` each document breaks."""
        return np.concatenate([np.zeros((self.n, 0), np.bool_), *self._fails], axis=1)

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """(N,) Index into `reasons`: the rule that drops a document, or else the first that tags it; -1 for none."""
        return self._first

    def decide(self, stage: str, batch: Any, writer: PartWriter) -> None:
        """Write a ledger row for every document, and count for the manifest."""
        fails, stays = self.fails, ~self.dropped
        edits = [(name, changed & stays, notes) for name, changed, notes in self._edits]
        edited = np.logical_or.reduce([np.zeros(self.n, np.bool_), *(changed for _, changed, _ in edits)])
        tagged = (fails.any(axis=1) | self._told) & stays
        decision = np.full(self.n, ledger.KEPT, dtype=object)
        for which, word in ((tagged, ledger.TAGGED), (edited, ledger.EDITED), (self.dropped, ledger.DROPPED)):
            decision[which] = word
        reason = np.array(["", *self.reasons], dtype=object)[np.where(edited, -1, self._first) + 1]
        notes: dict[str, Any] = {}
        for name, changed, of_edit in edits:
            reason[changed] = [f"{r}+{name}" if r else name for r in reason[changed]]
            for key, note in of_edit.items():
                _add(notes, key, _held(note, changed))
        if fails.any():
            notes["broken"] = self._broken(fails)
        shown = tagged | edited | self.dropped
        for key, note in self._notes:
            _add(notes, key, _held(note, shown))
        if self._values:
            _add(notes, "scores", _held(note_object(self._values), tagged))
        self._count(fails, stays, edits, writer)
        writer.decide(
            stage,
            batch,
            decision=decision.tolist(),
            reason=reason.tolist(),
            score=pa.array(self.score, mask=np.isnan(self.score) | edited).to_pylist(),
            evidence=pc.coalesce(note_object(notes), scalar("{}")).to_pylist() if notes else ["{}"] * self.n,
        )

    def _count(self, fails: Mask, stays: Mask, edits: list[tuple[str, Mask, Notes]], writer: PartWriter) -> None:
        found = {f"edited:{name}": int(changed.sum()) for name, changed, _ in edits}
        found |= {name: int(values[stays].sum()) for name, values in self._counts}
        for name, rows in (("broken", fails[self.dropped]), ("tagged", fails[stays])):
            found |= {f"{name}:{rule}": total for rule, total in zip(self.reasons, rows.sum(axis=0).tolist())}
        writer.counts.update({name: total for name, total in found.items() if total})

    def _broken(self, fails: Mask) -> Any:
        """Lists of broken rules as a note. Few patterns of broken rules occur: each is written once."""
        patterns, which = np.unique(np.packbits(fails, axis=1), axis=0, return_inverse=True)
        rules = np.unpackbits(patterns, axis=1, count=fails.shape[1]).astype(np.bool_)
        cells = [json.dumps([self.reasons[r] for r in np.flatnonzero(row)]) if row.any() else None for row in rules]
        return pa.array(cells, pa.string()).take(pa.array(which.reshape(-1)))

    def meta(self, batch: Any) -> Any:
        """The documents' meta with what the families learned."""
        notes = dict(self._meta)
        if self._values:
            _add(notes, "scores", note_object(self._values))
        return merged_meta(batch.column("meta"), notes)


def merged_meta(meta: Any, notes: Notes) -> Any:
    """JSON objects with the keys of `notes` added; only objects that hold one of the keys already are parsed.

    Raises: FormatError: a cell that has to be parsed is no JSON object.
    """
    if not notes:
        return meta
    new = note_object(notes)
    if new.null_count == len(new):
        return meta
    plain = pc.and_(pc.starts_with(meta, "{"), pc.ends_with(meta, "}"))
    for key in notes:
        plain = pc.and_(plain, pc.invert(pc.match_substring(meta, json.dumps(key, ensure_ascii=False))))
    head, tail = pc.utf8_slice_codeunits(meta, 0, -1), pc.utf8_slice_codeunits(new, 1)
    joined = pc.if_else(pc.equal(meta, scalar("{}")), new, pc.binary_join_element_wise(head, tail, scalar(", ")))
    result = pc.if_else(pc.is_valid(new), pc.if_else(plain, joined, meta), meta)
    parse = np.flatnonzero(pc.and_(pc.is_valid(new), pc.invert(plain)).to_numpy(zero_copy_only=False))
    if len(parse):
        cells = result.to_pylist()
        for i in parse.tolist():
            cells[i] = _merged(cells[i], new[i].as_py())
        result = pa.array(cells, pa.string())
    return result


def _merged(old: str, new: str) -> str:
    try:
        found = json.loads(old)
    except ValueError as error:
        raise FormatError(f"filter: meta must be a JSON object, got {old[:80]!r} ({error})") from None
    if not isinstance(found, dict):
        raise FormatError(f"filter: meta must be a JSON object, got {old[:80]!r}")
    for key, value in json.loads(new).items():
        both = isinstance(found.get(key), dict) and isinstance(value, dict)
        found[key] = {**found[key], **value} if both else value
    return json.dumps(found, ensure_ascii=False, sort_keys=True)


def _held(note: Any, which: Mask) -> Any:
    """A note, absent where `which` is False."""
    return note if which.all() else pc.if_else(pa.array(which), note, NULL)


def _add(notes: dict[str, Any], key: str, note: Any) -> None:
    """Put a note beside those there are; of two with one key the older one's values hold."""
    notes[key] = pc.coalesce(notes[key], note) if key in notes else note
