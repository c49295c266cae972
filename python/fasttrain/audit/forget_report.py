"""The report of a removal request: Markdown for people, JSON beside it. No text, no URL, no key as it was given."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fasttrain.audit.forget import Request, Wanted
from fasttrain.audit.rebuilt import StageRebuilt
from fasttrain.core.config import Settings
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder

_SHOWN = 200  # documents in the Markdown; the JSON has all


class Report(Settings):
    """A removal request, what it means, and what was done."""

    format: int = 1
    """Version of this layout."""
    date: str
    """ISO 8601, UTC."""
    applied: bool
    """False: a dry run."""
    request: Request
    """What was found."""
    lists: tuple[str, ...] = ()
    """Where the documents are listed now."""
    rebuilt: tuple[StageRebuilt, ...] = ()
    """What was made again."""


def now() -> str:
    """The time, for a report."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(run: RunFolder, report: Report) -> Path:
    """Write removals/<request>.json and .md; return the latter. A dry run does not replace the report of a removal."""
    name = report.request.request + ("" if report.applied else ".dry-run")
    atomic.write_json(run.removals / f"{name}.json", report.to_dict())
    path = run.removals / f"{name}.md"
    atomic.write_bytes(path, markdown(report).encode())
    return path


def applied(run: RunFolder) -> list[Report]:
    """Reports of the requests that were carried out, the oldest first."""
    paths = [p for p in run.removals.glob("r-*.json") if not p.name.endswith(".dry-run.json")]
    return sorted((Report.load(atomic.read_json(p), str(p)) for p in paths), key=lambda r: (r.date, r.request.request))


def markdown(report: Report) -> str:
    """The report for people."""
    r = report.request
    copies = [d for d in r.documents if d.why != "asked"]
    parts = [
        f"# Removal request {r.request}",
        f"{report.date}. {'Carried out.' if report.applied else 'Dry run: nothing was changed.'} "
        f"{r.asked} keys given, {len(r.documents) - len(copies)} documents asked for, {len(copies)} copies of them "
        f"(same text, similarity of at least {r.threshold:g}, or by the ledger).",
    ]
    if r.not_found:
        numbers = ", ".join(map(str, r.not_found))
        parts.append(f"**Nothing in this run's lake answers to key {numbers}** (in the order given).")
    parts += ["## Documents", _table(("doc_id", "why", "source", "lake record", "in the outputs of", "shards", "steps",
                                      "dropped before"), [_row(d) for d in r.documents[:_SHOWN]])]  # fmt: skip
    if len(r.documents) > _SHOWN:
        parts.append(f"and {len(r.documents) - _SHOWN:,} more in the JSON file.")
    places = [(d.doc_id, f"{p.file}, row {p.row}") for d in r.documents[:_SHOWN] for p in d.places]
    tokens = [(d.doc_id, f"{s.shard}, tokens {s.first_token:,} to {s.first_token + s.tokens:,}")
              for d in r.documents[:_SHOWN] for s in d.shards]  # fmt: skip
    parts += [
        "## Where they are" if not report.applied else "## Where they were",
        _table(("doc_id", "place"), [*places, *tokens]),
    ]
    parts += ["## What has seen them", _seen(r)]
    if r.may_return:
        parts += ["## May come back", "Removed before as duplicates of a document that goes, and no copies of what was "
                  "asked for; name them in a request of their own if they must go:", _list(r.may_return)]  # fmt: skip
    if r.fragments:
        parts += ["## Parts of it", "Documents that hold nothing but a part of an asked text; they stay:",
                  _list(r.fragments)]  # fmt: skip
    if report.applied:
        parts += ["## What was done", _done(report)]
    else:
        parts += ["## To carry it out", "Run the same command with `--apply`: the documents go onto the removal list, "
                  "and what holds them is made again without them."]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _row(d: Wanted) -> tuple[str, ...]:
    why = d.why if d.similarity is None else f"{d.why} as {(d.of or '')[:8]}, {d.similarity:.3f}"
    tokens = ", ".join(f"{s.shard} ({s.tokens:,} tokens)" for s in d.shards) or "none"
    return (f"`{d.doc_id}`", why, d.source, d.record or "not known", ", ".join(dict.fromkeys(p.stage for p in d.places))
            or "none", tokens, _numbers(d.steps), d.dropped or "no")  # fmt: skip


def _seen(r: Request) -> str:
    if not r.steps_known:
        return ("Not known: the shards were made again after this run was trained. The report of the request that made "
                "them again, or a copy of the old shards, can say.")  # fmt: skip
    if r.first_step is None:
        return "No training step of this run has seen any of them."
    steps = sorted({s for d in r.documents for s in d.steps})
    left = f"Of those that are left: {', '.join(r.checkpoints)}." if r.checkpoints else "None of those is left."
    return (f"Training steps {_numbers(steps)}. **Every checkpoint made after step {r.first_step:,} has seen them** "
            f"and every export and evaluation made from one. {left} The list does not change a model: train it anew "
            "from the rebuilt shards. Checkpoints of the old order are refused by `train`, so give it a folder of its "
            "own.")  # fmt: skip


def _done(report: Report) -> str:
    lines = [f"Put onto {path}." for path in report.lists]
    for stage in report.rebuilt:
        if not stage.ran:
            lines.append(f"{stage.stage}: stayed as it was ({stage.stayed} files).")
            continue
        parts = sorted({p.rsplit("/", 1)[-1].split(".")[0] for p in stage.made_again if "/part-" in p})
        named = f" ({', '.join(parts[:20])}{' ...' if len(parts) > 20 else ''})" if stage.stayed else ""
        lines.append(f"{stage.stage}: {len(stage.made_again)} files made again{named}, {stage.equal} of them with the "
                     f"bytes that they had; {len(stage.gone)} gone; {stage.stayed} not touched.")  # fmt: skip
    lines.append("Checked afterwards: no output of a stage and no shard holds a document of the request.")
    return "\n".join(f"- {line}" for line in lines)


def _numbers(steps: Sequence[int]) -> str:
    shown = ", ".join(f"{s:,}" for s in steps[:10])
    return shown + (f" and {len(steps) - 10:,} more" if len(steps) > 10 else "") or "none"


def _list(names: Sequence[str]) -> str:
    more = [f"- and {len(names) - _SHOWN:,} more in the JSON file"] if len(names) > _SHOWN else []
    return "\n".join([*(f"- `{name}`" for name in names[:_SHOWN]), *more])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None."
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *escaped))
