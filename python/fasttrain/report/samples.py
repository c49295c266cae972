"""A few dropped documents for each reason: the same ones at every build, clipped, without personal data."""

import json
import re
from dataclasses import dataclass
from typing import Any

from fasttrain.audit.ledger import STAGES
from fasttrain.filter import pii
from fasttrain.report.gather import RunData
from fasttrain.text import columns

PER_REASON = 3
SHOWN = 500  # characters
_READ = 4000  # characters masked before clipping, so that no item is cut in half and missed

# After the filter's own masks, and coarser on purpose: a page is passed around, so what only looks like personal data
# (a version number of seven digits, say) goes too.
_MASKS = (
    (re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+"), "[e-mail]"),
    (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), "[IBAN]"),
    (re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), "[IP]"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])"), "[IP]"),
    (re.compile(r"\+?\(?\d(?:[\s().\-/]{0,3}\d){6,}"), "[number]"),
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One dropped document."""

    stage: str
    reason: str
    source: str
    origin: str
    num_bytes: int
    score: float | None
    note: str  # the evidence in words
    text: str


def samples(data: RunData, reasons: list[tuple[str, str]]) -> list[Sample]:
    """PER_REASON documents of each (stage, reason): those of the smallest doc_id, a hash: a fair draw."""
    rows = data.rows(
        "SELECT stage, reason, unnest(arg_min({'doc_id': doc_id, 'source': source, 'origin': origin, 'bytes': bytes, "
        "'score': score, 'evidence': evidence}, doc_key, ?)) AS d FROM ledger WHERE decision = 'dropped' "
        "GROUP BY stage, reason",
        (PER_REASON,),
    )
    wanted = [r for r in rows if (r["stage"], r["reason"]) in set(reasons)]
    named = {r["d"]["doc_id"] for r in wanted} | {v for r in wanted for v in _ids(_evidence(r["d"]["evidence"]))}
    texts, origins = look_up(data, sorted(named))
    order = {key: i for i, key in enumerate(reasons)}
    wanted.sort(key=lambda r: (order[r["stage"], r["reason"]], r["d"]["doc_id"]))
    return [
        Sample(
            stage=r["stage"],
            reason=r["reason"],
            source=r["d"]["source"],
            origin=mask(r["d"]["origin"]),
            num_bytes=r["d"]["bytes"],
            score=r["d"]["score"],
            note=_note(_evidence(r["d"]["evidence"]), origins),
            text=clip(mask(texts.get(r["d"]["doc_id"], "(the text is not in this run folder)"))),
        )
        for r in wanted
    ]


def mask(text: str) -> str:
    """The text without what looks like e-mail addresses, IP addresses, bank accounts and long numbers."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


def clip(text: str, size: int = SHOWN) -> str:
    """The beginning, with a mark where it was cut."""
    return text if len(text) <= size else text[:size] + " …"


def look_up(data: RunData, ids: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Texts as the last stage that held them had them (after masking, where there is such), and origins."""
    if not ids:
        return {}, {}
    marks = ", ".join("unhex(?)" for _ in ids)
    rows = data.rows(
        f"SELECT stage, doc_id, origin, left(text, {_READ}) AS text FROM documents WHERE doc_key IN ({marks})",
        tuple(ids),
    )
    rows.sort(key=lambda r: STAGES.index(r["stage"]))
    masked = pii.mask(columns.from_texts([r["text"] for r in rows])).column
    texts = {r["doc_id"]: masked[i].decode("utf-8", "replace") for i, r in enumerate(rows)}
    return texts, {r["doc_id"]: r["origin"] for r in rows}


def _evidence(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _ids(evidence: dict[str, Any]) -> list[str]:
    return [v for v in evidence.values() if isinstance(v, str) and re.fullmatch(r"[0-9a-f]{32}", v)]


def _note(evidence: dict[str, Any], origins: dict[str, str]) -> str:
    parts = []
    for key, value in evidence.items():
        shown = origins.get(value, value) if isinstance(value, str) else value
        shown = f"{shown:.4g}" if isinstance(shown, float) else str(shown)
        parts.append(f"{key.replace('_', ' ')}: {clip(mask(shown), 160)}")
    return ", ".join(parts)
