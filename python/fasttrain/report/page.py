"""Run folder -> one HTML page that needs nothing else: no network, no other file.

What the folder lacks is said to be missing. The page forbids itself every request (Content-Security-Policy), so that
what stands in a document can load nothing.
"""

import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.report import (
    data_sections,
    dedup_sections,
    eval_sections,
    filter_sections,
    governance_sections,
    passages_sections,
    train_sections,
)
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData, at
from fasttrain.report.html import Html, duration, join, number, tag

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
Section = Callable[[RunData, Figures], Html | None]
SECTIONS: tuple[tuple[str, str, Section, str], ...] = (
    ("scores", "How well it predicts", eval_sections.scores, "Not evaluated yet: `fasttrain eval` writes the scores."),
    ("gates", "Gates", eval_sections.gates, "Not evaluated yet."),
    ("generations", "What it writes", eval_sections.generations, "No generations yet: `fasttrain eval` makes them."),
    ("training", "Training", train_sections.training, "Not trained yet: `fasttrain train` writes the curves."),
    (
        "data",
        "What went in",
        data_sections.what_went_in,
        "No documents in this folder: `fasttrain prepare` reads them.",
    ),
    ("governance", "What may be used", governance_sections.governance, "The corpus stage is not finished."),
    ("removed", "What was removed, and why", data_sections.removed, "No prepare stage is finished."),
    ("filters", "The refinery: filters", filter_sections.filters, "The filter stage is not finished."),
    ("duplicates", "Duplicates", dedup_sections.duplicates, "The dedup stage is not finished."),
    ("passages", "Repeated passages", passages_sections.passages, "The passages stage is not finished."),
    ("benchmarks", "Benchmarks held out", dedup_sections.benchmarks, "The decontam stage is not finished."),
    ("tokenizer", "Tokenizer", train_sections.tokenizer, "No tokenizer in this folder."),
    ("mixture", "Mixture", train_sections.mixture, "The mixture is not worked out yet."),
    ("estimate", "Estimate and measurement", eval_sections.estimate, "The run was started without an estimate."),
    ("provenance", "Provenance", eval_sections.provenance, "Nothing is known of this run."),
)


def build(run: RunFolder) -> Path:
    """Write the page to `run.report` and return its path.

    Built from whatever the folder holds, also while the run goes on. Curves are thinned, samples and tables capped, so
    the page stays a few megabytes (most of it plotly) for a run of any size.
    Raises: FormatError: no such folder, or a full disk.
    """
    if not run.root.is_dir():
        raise FormatError(f"report: {run.root}: no such run folder; give one that `fasttrain run` or `prepare` made")
    with RunData(run) as data:
        text = render(data)
    atomic.write_bytes(run.report, text.encode())
    return run.report


def render(data: RunData) -> str:
    """The whole page."""
    figures = Figures()
    name = str(data.recipe.get("name") or data.run.root.resolve().name)
    sections = [(anchor, title, make(data, figures) or _missing(missing)) for anchor, title, make, missing in SECTIONS]
    notes = [tag("p", f"Damaged and left out: {d}", class_="missing") for d in data.damaged]
    return document(name, f"{name}: fasttrain report", join([_header(data, name), *notes]), sections)


def document(name: str, title: str, header: Html, sections: Sequence[tuple[str, str, Html]]) -> str:
    """A page of its own: contents, header, sections (anchor, title, body), with style, script and plotly inside."""
    bodies = [tag("section", tag("h2", heading), body, id=anchor) for anchor, heading, body in sections]
    contents = tag("ol", *(tag("li", tag("a", heading, href=f"#{anchor}")) for anchor, heading, _ in sections))
    folder = importlib.resources.files("fasttrain.report")
    style, script = (Html((folder / f).read_text(encoding="utf-8")) for f in ("style.css", "page.js"))
    page = join([
        Html("<!doctype html>\n"),
        tag("html",
            tag("head", tag("meta", charset="utf-8"),
                tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
                tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
                tag("title", title), tag("style", style)),
            tag("body",
                tag("a", "Skip to the report", href="#main", class_="skip"),
                tag("div",
                    tag("nav", tag("strong", name), contents, aria_label="Sections"),
                    tag("main", header, *bodies, id="main"), class_="layout"),
                tag("script", Html(get_plotlyjs())), tag("script", script)),
            lang="en"),
    ])  # fmt: skip
    return str(page)


def _missing(text: str) -> Html:
    """A sentence in which `names` are set as code."""
    parts = text.split("`")
    return tag("p", *(tag("code", p) if i % 2 else p for i, p in enumerate(parts)), class_="missing")


def _header(data: RunData, name: str) -> Html:
    trained = data.curves.last
    cards: list[Html] = []
    score = at(data.eval, "scores", "all", "bpb")
    if score is not None:
        others = ", ".join(
            f"{n} {b['all']['bpb']:.3f}" for n, b in (data.eval.get("baselines") or {}).items() if "all" in b
        )
        cards.append(card("bits per byte, probe set", f"{score:.3f}", others))
    gates = data.eval.get("gates") or []
    if gates:
        passed = sum(g["passed"] for g in gates)
        cards.append(card("gates", eval_sections.pill(passed == len(gates)), f"{passed} of {len(gates)} hold"))
    if trained:
        loss = trained.get("loss")
        shown = f"last loss {loss:.3f}" if isinstance(loss, (int, float)) else ""
        cards.append(
            card("tokens trained on", number(trained.get("tokens", 0)), f"{data.curves.num_steps:,} steps, {shown}")
        )
    params = data.curves.start.get("num_params")
    if isinstance(params, int):
        cards.append(card("parameters", number(params), f"{params:,}"))
    corpus = data.manifests.get("corpus")
    if corpus is not None:
        last = [m for n, m in data.manifests.items() if n in ("filter", "dedup", "passages", "decontam")]
        kept = last[-1].report.kept if last else corpus.report.kept
        cards.append(card("documents", f"{kept:,}", f"kept of {corpus.report.kept:,} read"))
    seconds = data.seconds()
    if seconds:
        longest = max(seconds, key=lambda k: seconds[k])
        cards.append(
            card(
                "time",
                duration(data.wall_seconds() or sum(seconds.values())),
                f"most of it {longest}, {duration(seconds[longest])}",
            )
        )
    lead = "From a data lake to a base model: what went in, what came out, and how it got there."
    return join([tag("h1", name), tag("p", lead, class_="lead"), tag("div", *cards, class_="cards")])


def card(name: str, value: Any, more: str) -> Html:
    parts = (("name", name), ("value", value), ("more", more))
    return tag("div", *(tag("div", text, class_=kind) for kind, text in parts), class_="card")
