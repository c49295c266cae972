"""Sections about the tokenizer, the mixture and the training curves."""

from typing import Any

import numpy as np

from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, any_data, cell, duration, join, number, pairs, table, tag, words
from fasttrain.report.metrics import Curves

_RETURNS = ("rollback", "repair", "halt")  # events of the guard that stand for a step which is in no line


def tokenizer(data: RunData, figures: Figures) -> Html | None:
    """The tokenizer's report: compression, fertility, words that stay whole."""
    stage = data.manifests.get("tokenizer")
    if not data.tokenizer and stage is None:
        return None
    parts: list[Any] = []
    if stage is not None and stage.config and not data.tokenizer:
        plain = {k: v for k, v in stage.config.items() if isinstance(v, (str, int, float, bool))}
        parts.append(pairs(plain))
    if data.tokenizer:
        parts.append(any_data(data.tokenizer, limit=60))
    shards = [
        [name, info.get("num_docs"), info.get("num_tokens"), number(info.get("num_bytes", 0), "B"),
         info["num_bytes"] / info["num_tokens"] if info.get("num_tokens") else None]
        for name, info in data.shards.items()
    ]  # fmt: skip
    if shards:
        parts.append(
            table(("shard", "documents", "tokens", "text", "bytes a token"), shards, caption="Token shards",
                  numbers=(1, 2, 3, 4))
        )  # fmt: skip
    return join(parts)


def mixture(data: RunData, figures: Figures) -> Html | None:
    """Weights, tokens and epochs by source, beside what the sources hold."""
    if not data.mixture.get("weights"):
        return None
    held = {n.removeprefix("train/"): i.get("num_tokens", 0) for n, i in data.shards.items() if n.startswith("train/")}
    total = sum(held.values()) or 1
    weights, tokens, epochs = (data.mixture.get(k) or {} for k in ("weights", "tokens", "epochs"))
    sources = sorted({*weights, *held}, key=lambda s: -weights.get(s, 0))
    rows = [
        [s, held.get(s), f"{held.get(s, 0) / total:.1%}", f"{weights.get(s, 0):.1%}", tokens.get(s), epochs.get(s)]
        for s in sources
    ]
    parts: list[Any] = [
        figures.bars(
            "Share of each source: of the tokens there are, and of the tokens drawn",
            {
                "there are": {s: held.get(s, 0) / total for s in sources},
                "drawn": {s: weights.get(s, 0) for s in sources},
            },
            y="share",
        ),
        table(
            ("source", "tokens", "share of tokens", "weight", "tokens drawn", "epochs"), rows, numbers=(1, 2, 3, 4, 5)
        ),
    ]
    if data.mixture.get("warnings"):
        parts.append(tag("ul", *(tag("li", w) for w in data.mixture["warnings"])))
    return join(parts)


def training(data: RunData, figures: Figures) -> Html | None:
    """Curves of the run, and what the guard did."""
    curves = data.curves
    if not curves.num_steps:
        return None
    apart = ("event", "mfu_formula", "flops_formula", "packing")
    start = {words(k): _shown(v) for k, v in curves.start.items() if k not in apart}
    last = curves.last
    lead = (
        f"{last.get('step', 0):,} steps, {number(last.get('tokens', 0))} tokens, "
        f"{duration(curves.seconds)} of training; last loss {_figure(last.get('loss'))}."
    )
    guard = [(e.get("from_step", e["step"]), e["loss"], f"{e['event']} at step {e.get('from_step', e['step'])}")
             for e in curves.events if e["event"].startswith(("guard", *_RETURNS))
             and isinstance(e.get("loss"), (int, float))]  # fmt: skip
    loss = {"training": curves.curve("loss"), "validation": curves.curve("val_loss")}
    parts: list[Any] = [
        tag("p", lead, class_="lead"),
        figures.lines("Loss, nats a token", loss, y="nats a token", markers=("validation",), marks=guard),
    ]
    for family, title in (
        ("loss_by_source", "Training loss by source"),
        ("val_loss_by_source", "Validation loss by source"),
    ):
        sources = curves.family(family)
        if sources:
            found = {s: curves.curve(f"{family}.{s}") for s in sources}
            if max(len(x) for x, _ in found.values()) == 1:
                values = {title: {s: v[0] for s, (_, v) in found.items() if v}}
                parts.append(figures.bars(f"{title}, nats a token", values, y="nats a token"))
                continue
            parts.append(figures.lines(f"{title}, nats a token", found, y="nats a token",
                                       markers=sources if family.startswith("val") else ()))  # fmt: skip
    if sources := curves.family("epochs"):
        title = "Times that each source has been gone through"
        parts.append(figures.lines(title, {s: curves.curve(f"epochs.{s}") for s in sources}, y="epochs"))
    if curves.start.get("packing"):
        parts.append(_packing(curves.start["packing"]))
    small = [
        ("grad_norm", "Gradient norm, before clipping", "norm"),
        ("lr", "Learning rate", "learning rate"),
        ("tokens_per_s", "Throughput, tokens a second", "tokens/s"),
        ("mfu", "Model FLOPs utilisation (MFU)", "part of the peak"),
        ("memory_bytes", "Memory of a rank, bytes", "bytes"),
    ]
    drawn = [
        figures.lines(title, {name: curves.curve(name)}, y=y, from_zero=True)
        for name, title, y in small
        if len(curves.curve(name)[0]) > 0
    ]
    exposed = {"communication": curves.curve("comm_s"), "of it waiting for other ranks": curves.curve("comm_wait_s")}
    if curves.curve("comm_s")[0]:
        drawn.append(figures.lines("Exposed communication, seconds a step", exposed, y="s", from_zero=True))
    parts.append(tag("div", *drawn, class_="two"))
    parts.append(_seconds(curves))
    formula = curves.start.get("mfu_formula")
    if formula:
        parts.append(tag("p", _mfu(curves, str(formula)), class_="note"))
    parts.append(_events(curves))
    if start:
        parts += [tag("h3", "How it was run"), pairs(start)]
    return join(parts)


def _packing(packing: dict[str, dict[str, float]]) -> Html:
    """What the packing costs: padding, and documents that lose their beginning."""
    rows = [
        [s, p["sequences"], f"{p['padding']:.2%}", f"{p['documents_cut']:.1%}", f"{p['tokens_cut_off']:.1%}"]
        for s, p in packing.items()
    ]
    head = ("source", "sequences an epoch", "padding", "documents cut", "tokens without their document's beginning")
    return table(head, rows, caption="Packing", numbers=(1, 2, 3, 4))


_SECONDS = (
    ("step_s", "a step"),
    ("outside_s", "outside forward, backward and optimizer"),
    ("host_s", "… of that, own work: batches, totals, guard, metrics"),
    ("data_s", "… … of that, waiting for the batch"),
    ("comm_s", "communication, wherever it lies"),
    ("comm_wait_s", "… of that, waiting for ranks that came later"),
)


def _seconds(curves: Curves) -> Html:
    """Where a step's seconds go: medians, and whom the ranks wait for."""
    steps = curves.columns.get("step_s")
    if steps is None or "outside_s" not in curves.columns:
        return Html("")
    rows = [[name, f"{1e3 * np.nanmedian(column):.2f}", f"{np.nanmedian(column / steps):.2%}"]
            for key, name in _SECONDS if (column := curves.columns.get(key)) is not None]  # fmt: skip
    caption = "Where a step's seconds go on rank 0 (medians)"
    slowest = curves.columns.get("slowest_rank")
    if slowest is not None:
        ranks, counts = np.unique(slowest[np.isfinite(slowest)], return_counts=True)
        caption += (
            f"; the others wait for rank {ranks[counts.argmax()]:.0f} in {counts.max() / counts.sum():.0%} of steps"
        )
    return table(("", "ms", "of the step"), rows, caption=caption, numbers=(1, 2))


def _mfu(curves: Curves, formula: str) -> str:
    """The formula of MFU with its parts."""
    start = curves.start
    text = f"MFU = {formula}"
    if start.get("flops_formula"):
        text += f", FLOPs per token = {start['flops_formula']} = {cell(start.get('flops_per_token'))}"
    if isinstance(start.get("peak_flops"), (int, float)):
        text += f", peak {number(start['peak_flops'], 'FLOP/s')}"
        text += f" ({start['peak_source']})" if start.get("peak_source") else ""
    return text + "."


def _events(curves: Curves) -> Html:
    if not curves.events:
        return tag("p", "The guard had nothing to do: no spike, no value that is not finite.", class_="note")
    rows = [[e.get("step"), e["event"], _figure(e.get("loss")), _figure(e.get("grad_norm")),
             ", ".join(f"{words(k)} {cell(v)}" for k, v in e.items()
                       if k not in ("event", "step", "loss", "grad_norm"))[:300]] for e in curves.events]  # fmt: skip
    more = curves.num_events - len(curves.events)
    caption = "Events" + (f" (the first {len(curves.events)}; {more:,} more in metrics.jsonl)" if more else "")
    return join([tag("h3", "Spikes, recoveries, restarts"),
                 table(("step", "event", "loss", "gradient norm", "more"), rows, caption=caption,
                       numbers=(0, 2, 3))])  # fmt: skip


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–" if value is None else str(value)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
