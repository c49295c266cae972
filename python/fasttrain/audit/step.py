"""A training step's documents: the order is a pure function, so a step is turned back into what was read in it."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fasttrain.audit.ledger import Ledger
from fasttrain.audit.trained import read_mixture
from fasttrain.batch.order import BatchConfig, Order
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic, manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.monitor.guard import SkipList


@dataclass(frozen=True, kw_only=True)
class StepDocument:
    """A document in a step's batch."""

    doc_id: str  # 32 hex digits
    source: str
    origin: str
    licence: str
    rows: tuple[int, ...]  # sequences of the global batch that hold a piece of it
    tokens: int  # of it in this step
    start: int  # its first token in this step, counted from the document's beginning


@dataclass(frozen=True, kw_only=True)
class StepDocuments:
    """What one step read."""

    step: int  # as in metrics.jsonl, from 1
    batch: int  # its place in the order: differs from step - 1 when the guard has left batches out
    metrics: dict[str, Any]  # the step's line in metrics.jsonl; empty when it has not been trained
    documents: tuple[StepDocument, ...]  # largest part of the batch first
    num_documents: int  # in all, of which `documents` are the first
    tokens: int


def open_order(run: RunFolder) -> Order:
    """The order of a run, from its recipe, mixture and shards. Raises ConfigError where one is missing."""
    recipe = run.root / "recipe.json"
    if not recipe.exists():
        raise ConfigError(f"audit: {recipe}: no recipe, so the order of training is not known")
    config = BatchConfig.load(atomic.read_json(recipe).get("batch", {}), where=f"{recipe}: batch")
    weights = read_mixture(run).get("weights")
    if not weights:
        raise ConfigError(f"audit: {run.mixture}: no mixture yet; run `fasttrain prepare` first")
    shards = open_shards(run.shards / "train")
    data = manifest.read(run.shards).content_fingerprint if (run.shards / manifest.NAME).exists() else None
    return Order(shards, weights, config, data_fingerprint=data, cache=run.train / "order")


def documents_of(run: RunFolder, step: int, *, limit: int | None = None) -> StepDocuments:
    """Return the documents of a training step, the ones with most tokens first, with their origins and licences.

    Args:
        step: as metrics.jsonl counts, from 1. A step that has not been trained gives what it would read.
        limit: at most so many documents; the counts are of all.
    Raises: ConfigError: a step before the first, a run folder that is not prepared, or one whose shards were made again
        since: the order is then another one, and nobody can say what the step has read.
    Cost: one batch of the order and one look-up of its documents; nothing is replayed.
    """
    if step < 1:
        raise ConfigError(f"audit: --step must be at least 1, got {step}")
    order = open_order(run)
    line, skips, trained_order = _metrics(run, step)
    if line and trained_order and trained_order != order.fingerprint:
        raise ConfigError(
            f"audit: {run.shards}: the shards or the mixture were made again since step {step} was trained, so what it "
            "has read is not known; a run begun with --fresh has steps that belong to its shards"
        )
    batch = line.get("batch")
    index = int(batch) if isinstance(batch, int) else SkipList(skips).batch_of(step - 1)
    spans = order.documents(index)
    pieces: dict[str, list[Any]] = {}
    for span in spans:
        pieces.setdefault(span.doc_id, []).append(span)
    known = _look_up(run, list(pieces))
    found = [
        StepDocument(
            doc_id=doc_id,
            source=members[0].source,
            origin=known.get(doc_id, ("(not in this run folder)", "unknown"))[0],
            licence=known.get(doc_id, ("", "unknown"))[1],
            rows=tuple(sorted({m.row for m in members})),
            tokens=sum(m.length for m in members),
            start=min(m.start for m in members),
        )
        for doc_id, members in pieces.items()
    ]
    found.sort(key=lambda d: (-d.tokens, d.doc_id))
    return StepDocuments(
        step=step,
        batch=index,
        metrics=line,
        documents=tuple(found if limit is None else found[:limit]),
        num_documents=len(found),
        tokens=sum(s.length for s in spans),
    )


def steps_of(run: RunFolder, doc_ids: Collection[str]) -> dict[str, list[int]] | None:
    """Return the training steps that have seen each document (hex), in order; none when nothing has been trained.

    Steps that a rollback took back count: the model saw them, whatever became of it. None: the shards are not those
    that were trained on (they were made again since), so nobody can say.
    Raises: ConfigError: trained, and the recipe, mixture or shards are gone.
    """
    batches, trained_order = _trained(run)
    if not batches or not doc_ids:
        return {}
    order = open_order(run)
    if trained_order and order.fingerprint != trained_order:
        return None
    found = order.batches_of(doc_ids, max(batches) + 1)
    return {d: sorted({step for b in mine for step in batches.get(b, ())}) for d, mine in found.items()}


def _trained(run: RunFolder) -> tuple[dict[int, set[int]], str]:
    """Steps that read each batch, and the fingerprint of the order, by metrics.jsonl."""
    batches: dict[int, set[int]] = {}
    skips: list[list[int]] = []
    order = ""
    if run.metrics.exists():
        with run.metrics.open(encoding="utf-8") as lines:
            for text in lines:
                if not text.endswith("\n"):
                    break  # cut by a kill
                line = json.loads(text)
                skips = line.get("skips", skips)
                if line.get("event") == "start":
                    order = line.get("order", "")
                elif "loss" in line and isinstance(line.get("step"), int) and "event" not in line:
                    batch = line.get("batch", SkipList(skips).batch_of(line["step"] - 1))
                    batches.setdefault(int(batch), set()).add(line["step"])
    return batches, order


def format_step(found: StepDocuments) -> RenderableType:
    """The step's figures and its documents."""
    line = found.metrics
    figures = [
        f"{name.replace('_', ' ')} {line[name]:.4g}" if isinstance(line[name], float) else f"{name} {line[name]}"
        for name in ("loss", "grad_norm", "lr", "guard", "guard_reason")
        if name in line
    ]
    head = Text.assemble(
        (f"step {found.step}", "bold"), f", batch {found.batch} of the order: ",
        f"{', '.join(figures) or 'not trained yet'}\n{found.num_documents:,} documents, {found.tokens:,} tokens",
    )  # fmt: skip
    table = Table(show_edge=False, pad_edge=False)
    for name in ("tokens", "from token", "rows", "source", "licence", "origin", "doc_id"):
        table.add_column(name, justify="right" if "token" in name else "left", overflow="fold")
    for d in found.documents:
        rows = ", ".join(map(str, d.rows[:6])) + (" ..." if len(d.rows) > 6 else "")
        table.add_row(f"{d.tokens:,}", f"{d.start:,}", rows, Text(d.source), Text(d.licence), Text(d.origin), d.doc_id)
    more = found.num_documents - len(found.documents)
    return Group(head, table, *([Text(f"and {more:,} more documents")] if more else []))


def _metrics(run: RunFolder, step: int) -> tuple[dict[str, Any], list[list[int]], str]:
    """The step's line, the batches that the guard had left out by the end of the file, the order's fingerprint."""
    line: dict[str, Any] = {}
    skips: list[list[int]] = []
    order = ""
    if run.metrics.exists():
        with run.metrics.open(encoding="utf-8") as lines:
            for text in lines:
                if not text.endswith("\n"):
                    break  # cut by a kill
                if f'"step": {step},' in text and '"loss"' in text and '"event"' not in text:
                    line = json.loads(text)
                elif '"event": "start"' in text:
                    order = json.loads(text).get("order", "")
                elif '"skips"' in text:
                    skips = json.loads(text).get("skips", skips)
    return line, skips, order


def _look_up(run: RunFolder, ids: list[str]) -> dict[str, tuple[str, str]]:
    """doc_id -> (origin, licence)."""
    with Ledger(run) as ledger:
        if not ids or not ledger.stages():
            return {}
        marks = ", ".join("unhex(?)" for _ in ids)
        rows = ledger.query(
            "SELECT doc_id, any_value(origin), any_value(licence) FROM documents "
            f"WHERE stage = ? AND doc_key IN ({marks}) GROUP BY doc_id",
            [ledger.stages()[-1], *ids],
        ).rows
    return {doc_id: (origin, licence) for doc_id, origin, licence in rows}
