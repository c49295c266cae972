"""Which items of a benchmark a run's corpus holds, in which documents, and what became of those.

From the decontam stage's manifest, its spans (decontam/stage.py: every match of every document) and the ledger of the
stages behind it; nothing is searched again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fasttrain.audit.ledger import STAGES, Ledger
from fasttrain.core.errors import ConfigError
from fasttrain.formats import manifest
from fasttrain.formats.run_folder import RunFolder

_STAGE = "decontam"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One place of one document that holds text of one item."""

    item: str
    row: int  # of the item in the benchmark's file
    field: str
    role: str
    doc_id: str  # 32 hex digits
    source: str
    origin: str
    decision: str  # dropped, cut, flagged; kept: a passage without its question
    outcome: str  # removed, cut, kept, or what a later stage did
    score: float
    begin: int
    end: int
    span: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known of one benchmark."""

    name: str
    figures: dict[str, Any]  # version, sha256, items, clean, dirty, unsearched, ...
    found: tuple[Found, ...]  # by row of the item, then document
    more: int  # places that `limit` left out
    subsets: tuple[Path, ...]


def benchmark(run: RunFolder, name: str, *, limit: int = 100) -> Answer:
    """Answer for one benchmark; at most `limit` places.

    Raises: ConfigError: the stage is not finished, or it looked for no such benchmark. FormatError: no such run folder.
    """
    folder = run.stage(_STAGE)
    if not (folder / manifest.NAME).exists():
        raise ConfigError(f"audit benchmark: {run.root}: the decontam stage is not finished; run `fasttrain prepare`")
    done = manifest.read(folder)
    known: dict[str, dict[str, Any]] = done.extra.get("benchmarks", {})
    named = {n.casefold(): n for n in known}
    if name.casefold() not in named:
        raise ConfigError(f"audit benchmark: {name!r} was not looked for; this run has {', '.join(known) or 'none'}")
    name = named[name.casefold()]
    rows: list[dict[str, Any]] = []
    for file in done.files:
        if file.path.endswith(".spans.parquet") and file.rows:
            rows += pq.read_table(folder / file.path, filters=[("benchmark", "==", name)]).to_pylist()
    rows.sort(key=lambda r: (r["row"], r["origin"], r["begin"], r["field"]))
    later = _dropped_later(run, sorted({r["doc_id"].hex() for r in rows[:limit]}))
    return Answer(
        name=name,
        figures={k: v for k, v in known[name].items() if not isinstance(v, (dict, list))},
        found=tuple(_found(r, later) for r in rows[:limit]),
        more=max(0, len(rows) - limit),
        subsets=tuple(folder / f.path for f in done.files if f.path.startswith(f"subsets/{name}.")),
    )


def _found(row: dict[str, Any], later: dict[str, str]) -> Found:
    doc_id = row["doc_id"].hex()
    if row["decision"] == "dropped":
        outcome = "removed"
    else:
        outcome = later.get(doc_id, "kept, cut" if row["decision"] == "cut" else "kept")
    names = ("item", "row", "field", "role", "source", "origin", "decision", "score", "begin", "end", "span")
    return Found(doc_id=doc_id, outcome=outcome, **{n: row[n] for n in names})


def _dropped_later(run: RunFolder, doc_ids: list[str]) -> dict[str, str]:
    """Those that a stage behind this one dropped, and which."""
    behind = STAGES[STAGES.index(_STAGE) + 1 :]
    if not doc_ids:
        return {}
    with Ledger(run) as ledger:
        rows = ledger.query(
            "SELECT doc_id, stage, reason FROM ledger WHERE decision = 'dropped' AND list_contains(?, doc_id) "
            "AND list_contains(?, stage)",
            [doc_ids, list(behind)],
        )
    return {doc_id: f"removed by {stage}: {reason}" for doc_id, stage, reason in rows.rows}
