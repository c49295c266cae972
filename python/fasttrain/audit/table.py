"""Terminal tables of what audit found: plain data in, rich renderables out."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fasttrain.audit.benchmark import Answer
from fasttrain.audit.document import Trail
from fasttrain.audit.ledger import Rows
from fasttrain.audit.near import Near
from fasttrain.audit.trained import TrainedRow

_COLOUR = {"kept": "green", "dropped": "red", "edited": "yellow"}


def format_trails(trails: Sequence[Trail]) -> RenderableType:
    """One block a document: who it is, each decision with its evidence, what it came to."""
    if not trails:
        return Text("Not in this run's lake: no document that was read matches.")
    return Group(*(_trail(t) for t in trails))


def format_rows(rows: Rows) -> RenderableType:
    """A query's answer."""
    return _table(rows.columns, [[_cell(value) for value in row] for row in rows.rows])


def format_near(found: Sequence[Near]) -> RenderableType:
    """Documents like a text, with their similarity; `fasttrain audit RUN --doc-id` tells each one's way."""
    if not found:
        return Text("No document that was read is like this text.")
    rows = [
        [f"{n.jaccard:.3f}", f"{n.text_in_document:.3f}", f"{n.document_in_text:.3f}", n.source, n.origin, n.doc_id]
        for n in found
    ]
    head = ("Jaccard", "of the text in it", "of it in the text", "source", "origin", "doc_id")
    return _table(head, rows, right=(0, 1, 2))


def format_trained_on(rows: Sequence[TrainedRow]) -> RenderableType:
    """The training set by source and licence, with a total."""
    total = ["total", "", sum(r.documents for r in rows), sum(r.num_bytes for r in rows), sum(r.tokens for r in rows)]
    lines = [
        [r.source, r.licence, f"{r.documents:,}", f"{r.num_bytes:,}", f"{r.tokens:,}",
         "not trained" if r.epochs is None else f"{r.epochs:.2f}"]
        for r in rows
    ]  # fmt: skip
    lines.append([*(str(v) if isinstance(v, str) else f"{v:,}" for v in total), ""])
    return _table(("source", "licence", "documents", "bytes", "tokens", "epochs"), lines, right=(2, 3, 4, 5))


def format_benchmark(answer: Answer) -> RenderableType:
    """What is known of a benchmark, then every place where an item of it was found."""
    figures = _table(("what", answer.name), [[k.replace("_", " "), _cell(v)] for k, v in answer.figures.items()])
    files = Text("".join(f"{path}\n" for path in answer.subsets))
    if not answer.found:
        return Group(figures, Text("No document that decontamination read holds an item of it."), files)
    rows = [
        [
            f.item,
            f.field,
            f"{f.score:.3f}",
            f.outcome,
            f.source,
            f.origin,
            f.doc_id,
            f"{f.begin}-{f.end}",
            _cell(f.span),
        ]
        for f in answer.found
    ]
    head = ("item", "field", "share", "outcome", "source", "document", "doc_id", "bytes", "text that both hold")
    more = [Text(f"{answer.more} more; give --limit")] if answer.more else []
    return Group(figures, _table(head, rows, right=(2,)), *more, files)


def _trail(trail: Trail) -> RenderableType:
    head = Text.assemble(
        (trail.origin, "bold"), f"  {trail.source}, {trail.licence}, {trail.language or 'language unknown'}, "
        f"{trail.num_bytes:,} bytes\n", f"doc_id {trail.doc_id}, found by {trail.match}\n", (trail.outcome, "bold"),
    )  # fmt: skip
    lines = [
        [d.stage, Text(d.decision, _COLOUR.get(d.decision, "")), d.reason, "" if d.score is None else f"{d.score:.4g}",
         _evidence(d.evidence, trail.related)]
        for d in trail.decisions
    ]  # fmt: skip
    tokens = ", ".join(f"{count:,} tokens in {where}" for where, count in trail.tokens.items())
    tail = Text(f"handed on by: {', '.join(trail.handed_on) or 'no stage'}" + (f"; {tokens}" if tokens else "") + "\n")
    return Group(head, _table(("stage", "decision", "reason", "score", "evidence"), lines), tail)


def _evidence(evidence: dict[str, Any], related: dict[str, str]) -> str:
    text = json.dumps(evidence, ensure_ascii=False, sort_keys=True) if evidence else ""
    for doc_id, origin in related.items():
        text = text.replace(doc_id, f"{doc_id} ({origin})")
    return text


def _cell(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else "" if value is None else str(value)
    return text if len(text) <= 400 else text[:400] + "..."


def _table(columns: Sequence[str], lines: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for line in lines:
        # Text, not str: what comes from a lake may hold rich's [markup].
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in line))
    return table
