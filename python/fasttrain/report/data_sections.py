"""Sections about documents: what went in, what was removed by which stage and why, with samples."""

from collections import defaultdict
from typing import Any

from fasttrain.audit.ledger import STAGES
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, duration, join, number, table, tag
from fasttrain.report.samples import Sample, samples

MAX_GROUPS = 40
MAX_LANGUAGES = 12
MAX_REASONS = 40


def what_went_in(data: RunData, figures: Figures) -> Html | None:
    """Documents and bytes by source, licence and language, as they were read."""
    rows = data.rows(
        "SELECT source, licence, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM documents WHERE stage = ? "
        "GROUP BY ALL",
        (data.first_stage(),),
    )
    if not rows:
        return None
    total_bytes = sum(r["bytes"] for r in rows) or 1
    trained: dict[str, int] = defaultdict(int)
    for row in data.trained:
        trained[row.source] += row.tokens
    by_source = _sum_by(rows, "source")
    source_rows = [
        [name, tag("span", ", ".join(sorted(v["licences"]))), v["documents"], number(v["bytes"], "B"),
         _share(v["bytes"] / total_bytes), trained.get(name)]
        for name, v in _largest(by_source)
    ]  # fmt: skip
    licence_rows = [
        [name, v["documents"], number(v["bytes"], "B"), _share(v["bytes"] / total_bytes)]
        for name, v in _largest(_sum_by(rows, "licence"))
    ]
    last = data.ledger.stages()[-1]
    languages = data.rows(
        "SELECT language, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM documents WHERE stage = ? "
        "AND language <> '' GROUP BY ALL ORDER BY bytes DESC LIMIT ?",
        (last, MAX_GROUPS),
    )
    rest = languages[MAX_LANGUAGES:]
    languages = languages[:MAX_LANGUAGES]
    if rest:
        languages.append(
            {
                "language": f"{len(rest)}{'+' if len(rest) + MAX_LANGUAGES == MAX_GROUPS else ''} others",
                "documents": sum(r["documents"] for r in rest),
                "bytes": sum(r["bytes"] for r in rest),
            }
        )
    parts = [
        tag("p", f"{sum(r['documents'] for r in rows):,} documents, {number(total_bytes, 'B')} of text, from "
                 f"{len(by_source)} sources.", class_="lead"),
        table(("source", "licences", "documents", "text", "share of bytes", "training tokens"), source_rows,
              caption="By source, as read", numbers=(2, 3, 5)),
        tag("div",
            tag("div", tag("h3", "Licences"),
                table(("licence", "documents", "text", "share of bytes"), licence_rows, numbers=(1, 2))),
            tag("div", tag("h3", "Languages"),
                table(("language", "documents", "text"),
                      [[r["language"], r["documents"], number(r["bytes"], "B")] for r in languages], numbers=(1, 2))
                if languages else tag("p", "No stage has named the languages yet.", class_="missing")),
            class_="two"),
    ]  # fmt: skip
    return join(parts)


def removed(data: RunData, figures: Figures) -> Html | None:
    """The funnel, reasons, and samples of what was dropped."""
    if not data.manifests:
        return None
    parts = [_stage_table(data)]
    counts = data.rows("SELECT stage, source, count(*) AS documents FROM documents GROUP BY ALL")
    if counts:
        groups: dict[str, dict[str, float | None]] = defaultdict(dict)
        for row in sorted(counts, key=lambda r: (r["source"], STAGES.index(r["stage"]))):
            groups[row["source"]][row["stage"]] = row["documents"]
        stages = [s for s in data.ledger.stages() if s != "split"]  # which cuts documents in two: it removes none
        ordered = {s: {st: v.get(st) for st in stages} for s, v in groups.items()}
        parts.append(
            figures.bars("Documents that each stage handed on, by source", ordered, y="documents", stacked=True)
        )
    drops = data.rows(
        "SELECT stage, reason, source, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM ledger "
        "WHERE decision = 'dropped' GROUP BY ALL"
    )
    if not drops:
        parts.append(tag("p", "Nothing was dropped.", class_="note"))
        return join(parts)
    by_reason: dict[tuple[str, str], dict[str, Any]] = {}
    for row in drops:
        entry = by_reason.setdefault((row["stage"], row["reason"]), {"documents": 0, "bytes": 0, "sources": {}})
        entry["documents"] += row["documents"]
        entry["bytes"] += row["bytes"]
        entry["sources"][row["source"]] = row["documents"]
    top = sorted(by_reason.items(), key=lambda kv: -kv[1]["documents"])
    parts.append(
        figures.ranked("Dropped documents by reason", {f"{s}: {r}": v["documents"] for (s, r), v in top[:20]},
                       x="documents")
    )  # fmt: skip
    parts.append(
        table(("stage", "reason", "documents", "text", "by source"),
              [[s, r, v["documents"], number(v["bytes"], "B"), _by_source(v["sources"])] for (s, r), v in top],
              caption="Every reason", numbers=(2, 3))
    )  # fmt: skip
    edits = data.rows(
        "SELECT stage, reason, source, count(*) AS documents FROM ledger WHERE decision = 'edited' GROUP BY ALL "
        "ORDER BY documents DESC LIMIT ?",
        (MAX_GROUPS,),
    )
    if edits:
        parts.append(
            table(("stage", "edit", "source", "documents"), [list(r.values()) for r in edits],
                  caption="Documents that were edited and kept", numbers=(3,))
        )  # fmt: skip
    parts.append(_samples(samples(data, [key for key, _ in top[:MAX_REASONS]]), dict(top)))
    return join(parts)


def _stage_table(data: RunData) -> Html:
    rows = []
    for name, m in data.manifests.items():
        report = m.report
        dropped = sum(report.dropped.values())
        came = report.kept + dropped
        share = f"{dropped / came:.1%}" if came else "–"
        top = sorted(report.counts.items(), key=lambda kv: -kv[1])
        counts = ", ".join(f"{v:,} {k.replace('_', ' ')}" for k, v in top[:4])
        counts += f" and {len(top) - 4} more" if len(top) > 4 else ""
        rows.append([name, came, report.kept, dropped, share, number(report.bytes_in, "B"),
                     number(report.bytes_out, "B"), duration(report.seconds), counts])  # fmt: skip
    return table(("stage", "documents in", "kept", "dropped", "of it", "text in", "text out", "time", "also counted"),
                 rows, caption="Stage by stage", numbers=(1, 2, 3, 4, 5, 6, 7))  # fmt: skip


def _samples(found: list[Sample], totals: dict[tuple[str, str], dict[str, Any]]) -> Html:
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in found:
        groups[sample.stage, sample.reason].append(sample)
    blocks = []
    for (stage, reason), members in groups.items():
        items = [
            join([
                tag("p", tag("strong", s.origin), f" ({s.source}, {s.num_bytes:,} bytes)",
                    "" if s.score is None else f", score {s.score:.4g}", f", {s.note}" if s.note else ""),
                tag("pre", s.text),
            ])
            for s in members
        ]  # fmt: skip
        count = totals[stage, reason]["documents"]
        head = tag("summary", tag("strong", f"{stage}: {reason}"), tag("span", f"{count:,} documents", class_="n"))
        blocks.append(tag("details", head, *items))
    if not blocks:
        return Html("")
    note = "Texts are cut after some hundred characters; personal data is masked before they are shown."
    return join([tag("h3", "Samples of what was dropped"), tag("p", note, class_="note"), *blocks])


def _sum_by(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = out.setdefault(row[key], {"documents": 0, "bytes": 0, "licences": set()})
        entry["documents"] += row["documents"]
        entry["bytes"] += row["bytes"]
        entry["licences"].add(row["licence"])
    return out


def _largest(groups: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(groups.items(), key=lambda kv: -kv[1]["bytes"])[:MAX_GROUPS]


def _share(value: float) -> Html:
    return tag("div", f"{value:.1%}", tag("span", class_="share", style=f"width:{100 * value:.1f}%"))


def _by_source(sources: dict[str, int]) -> str:
    items = sorted(sources.items(), key=lambda kv: -kv[1])
    text = ", ".join(f"{name} {count:,}" for name, count in items[:8])
    return text + (f" and {len(items) - 8} more" if len(items) > 8 else "")
