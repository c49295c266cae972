"""What became of a document: every decision about it, stage by stage, with the evidence.

A document is named by its doc_id (32 hex digits), by its origin (URL or path#record; whole, or a part of it), or by
text: the whole text (exact, then with case and white space ignored) or a passage of it.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fasttrain.audit.ledger import STAGES, Ledger
from fasttrain.core.errors import ConfigError
from fasttrain.formats import shards
from fasttrain.formats.run_folder import RunFolder
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

By = Literal["auto", "id", "origin", "text"]
_ID = re.compile(r"[0-9a-fA-F]{32}")
_DIGITS = re.compile(r"[0-9a-f]{32}")
_LOOSE = "lower(trim(regexp_replace({}, '\\s+', ' ', 'g')))"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One row of the ledger."""

    stage: str
    decision: str  # kept, dropped, edited or tagged
    reason: str
    score: float | None
    evidence: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trail:
    """One document and its way through the stages."""

    doc_id: str  # 32 hex digits
    source: str
    origin: str
    licence: str
    language: str
    num_bytes: int  # UTF-8 bytes of the text as it was read
    match: str  # how it was found: id, origin, text (exact), text (case and space ignored), passage
    decisions: tuple[Decision, ...]
    handed_on: tuple[str, ...]  # stages whose output holds it, the split as split/train or split/probe
    tokens: dict[str, int] = field(default_factory=dict)  # phase/source of the shard that holds it -> tokens
    related: dict[str, str] = field(default_factory=dict)  # doc_id named in the evidence -> its origin

    @property
    def outcome(self) -> str:
        """One line: trained on, held out, or dropped where and why."""
        dropped = [d for d in self.decisions if d.decision == "dropped"]
        if dropped:
            return f"dropped by {dropped[-1].stage}: {dropped[-1].reason}"
        if any(k.startswith("train/") for k in self.tokens) or "split/train" in self.handed_on:
            return "in the training set"
        if any(k.startswith("probe/") for k in self.tokens) or "split/probe" in self.handed_on:
            return "held out: in the probe set"
        last = self.handed_on[-1] if self.handed_on else "nothing"
        return f"kept as far as {last}; later stages are not finished or do not hold it"


def find(run: RunFolder, key: str, *, by: By = "auto", limit: int = 20) -> list[Trail]:
    """Return the trail of every document that `key` names (at most `limit`), best kind of match first.

    Args:
        key: a doc_id, an origin or part of one, a text or a passage of one.
        by: what `key` is; "auto" tries doc_id, then origin, then text.
    Returns: an empty list when nothing was read that matches: the text is not in this run's lake.
    Raises: ConfigError: an empty key. FormatError: no such run folder.
    Cost: one scan of the corpus documents' columns that are compared; nothing is indexed.
    """
    if not key.strip():
        raise ConfigError("audit: the text, origin or doc_id must not be empty")
    with Ledger(run) as ledger:
        found: dict[str, str] = {}
        for kind in ("id", "origin", "text") if by == "auto" else (by,):
            found = search(ledger, key, kind, limit)
            if found:
                break
        return [_trail(ledger, doc_id, match) for doc_id, match in list(found.items())[:limit]]


def _by_id(ledger: Ledger, key: str, limit: int) -> dict[str, str]:
    if not _ID.fullmatch(key.strip()):
        return {}
    doc_id = key.strip().lower()
    rows = ledger.query(
        "SELECT 1 FROM documents WHERE doc_key = unhex(?) "
        "UNION ALL SELECT 1 FROM ledger WHERE doc_key = unhex(?) LIMIT 1",
        [doc_id, doc_id],
    ).rows
    return {doc_id: "id"} if rows else {}


def _by_origin(ledger: Ledger, key: str, limit: int) -> dict[str, str]:
    exact = ledger.query(
        "SELECT doc_id FROM documents WHERE stage = ? AND origin = ? UNION SELECT doc_id FROM ledger WHERE origin = ? "
        "ORDER BY 1 LIMIT ?",
        [_first(ledger), key, key, limit],
    ).rows
    if exact:
        return {row[0]: "origin" for row in exact}
    partly = ledger.query(
        "SELECT DISTINCT doc_id, origin FROM (SELECT doc_id, origin FROM documents "
        "WHERE stage = ? AND contains(origin, ?) UNION ALL "
        "SELECT doc_id, origin FROM ledger WHERE contains(origin, ?)) "
        "ORDER BY origin, doc_id LIMIT ?",
        [_first(ledger), key, key, limit],
    ).rows
    return {row[0]: "part of the origin" for row in partly}


def _by_text(ledger: Ledger, key: str, limit: int) -> dict[str, str]:
    first = _first(ledger)
    digest = hash128(columns.from_texts([key.encode()])).tobytes().hex()
    steps = (
        ("text (exact)", "text_hash = ?", digest),
        ("text (case and space ignored)", f"{_LOOSE.format('text')} = {_LOOSE.format('?')}", key),
        ("passage (exact)", "contains(text, ?)", key),
        ("passage (case and space ignored)", f"contains({_LOOSE.format('text')}, {_LOOSE.format('?')})", key),
    )
    found: dict[str, str] = {}
    for match, condition, value in steps:
        rows = ledger.query(
            f"SELECT doc_id FROM documents WHERE stage = ? AND {condition} ORDER BY doc_id LIMIT ?",
            [first, value, limit],
        ).rows
        for (doc_id,) in rows:
            found.setdefault(doc_id, match)
        if len(found) >= limit:
            break
    return found


_SEARCH = {"id": _by_id, "origin": _by_origin, "text": _by_text}


def search(ledger: Ledger, key: str, by: str, limit: int) -> dict[str, str]:
    """doc_ids that `key` names as "id", "origin" or "text", each with the kind of match, the best kind first."""
    return _SEARCH[by](ledger, key, limit)


def _first(ledger: Ledger) -> str:
    return next(iter(ledger.stages()), "corpus")


def _trail(ledger: Ledger, doc_id: str, match: str) -> Trail:
    rows = ledger.query(
        "SELECT stage, phase, source, origin, licence, language, bytes FROM documents WHERE doc_key = unhex(?)",
        [doc_id],
    ).to_dicts()
    rows.sort(key=lambda r: STAGES.index(r["stage"]))
    decided = ledger.query(
        "SELECT stage, source, origin, decision, reason, score, bytes, evidence FROM ledger WHERE doc_key = unhex(?)",
        [doc_id],
    ).to_dicts()
    decided.sort(key=lambda r: _stage_order(r["stage"]))
    decisions = tuple(
        Decision(stage=r["stage"], decision=r["decision"], reason=r["reason"], score=r["score"],
                 evidence=_parse(r["evidence"]))
        for r in decided
    )  # fmt: skip
    known = (rows or decided)[0]
    last = rows[-1] if rows else {}
    named = {t for d in decisions for t in _DIGITS.findall(json.dumps(d.evidence)) if t != doc_id}
    return Trail(
        doc_id=doc_id,
        source=known["source"],
        origin=known["origin"],
        licence=known.get("licence", "unknown"),
        language=last.get("language", ""),
        num_bytes=known["bytes"],
        match=match,
        decisions=decisions,
        handed_on=tuple(dict.fromkeys(f"split/{r['phase']}" if r["stage"] == "split" else r["stage"] for r in rows)),
        tokens=_tokens(ledger.run, doc_id),
        related={t: origin for t in sorted(named) if (origin := _origin(ledger, t))},
    )


def _stage_order(name: str) -> int:
    # A stage may decide in steps of its own ("dedup.exact"): the first word is the stage.
    first = re.split(r"[^a-z]", name)[0]
    return STAGES.index(first) if first in STAGES else len(STAGES)


def _origin(ledger: Ledger, doc_id: str) -> str:
    rows = ledger.query(
        "SELECT origin FROM documents WHERE stage = ? AND doc_key = unhex(?) LIMIT 1", [_first(ledger), doc_id]
    ).rows
    return str(rows[0][0]) if rows else ""


def _tokens(run: RunFolder, doc_id: str) -> dict[str, int]:
    wanted = np.frombuffer(bytes.fromhex(doc_id), np.uint8)
    found = {}
    for phase in ("train", "probe"):
        for source, shard in shards.open_shards(run.shards / phase).items():
            hits = np.flatnonzero((shard.doc_ids == wanted).all(1))
            if len(hits):
                found[f"{phase}/{source}"] = int((shard.offsets[hits + 1] - shard.offsets[hits]).sum())
    return found


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
