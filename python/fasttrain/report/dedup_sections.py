"""Sections about duplicates and benchmarks: pairs proposed, verified and rejected, and what was held out."""

from typing import Any

from fasttrain.formats.manifest import Manifest
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData, at
from fasttrain.report.html import Html, any_data, join, number, pairs, table, tag
from fasttrain.report.samples import clip, mask

TOP = 20


def duplicates(data: RunData, figures: Figures) -> Html | None:
    """Counts of pairs, the curve of the banding, removal by source, the largest groups."""
    stage = data.manifests.get("dedup")
    if stage is None:
        return None
    extra = stage.extra
    dropped = stage.report.dropped
    kinds = ", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items()))
    parts = [
        tag("p", f"{sum(dropped.values()):,} documents removed{f' ({kinds})' if kinds else ''}. A pair that the hashes "
                 "propose is compared exactly before anything is removed.", class_="lead"),
    ]  # fmt: skip
    counted = extra.get("pairs") or stage.report.counts
    if counted:
        parts += [tag("h3", "Pairs"), pairs(counted)]
    if extra.get("alarms"):
        text = f"Sources that lose more than their alarm allows: {', '.join(extra['alarms'])}."
        parts.append(tag("p", tag("span", "alarm", class_="pill warn"), " ", text))
    parts.append(_curve(stage, figures))
    histogram = extra.get("jaccard_of_proposed")
    if histogram:
        parts.append(
            figures.bars("Exact Jaccard similarity of the proposed pairs", {"pairs": histogram}, y="pairs")
        )  # fmt: skip
    if extra.get("sources"):
        parts += [tag("h3", "By source"), any_data(extra["sources"], limit=TOP)]
    parts.append(_groups(data, extra))
    rest = {k: v for k, v in extra.items() if k in ("buckets", "too_short_for_fuzzy", "threshold")}
    if rest:
        parts += [tag("h3", "Banding"), any_data(rest)]
    return join(parts)


def benchmarks(data: RunData, figures: Figures) -> Html | None:
    """What overlapped with benchmark items, and what of them is left clean."""
    stage = data.manifests.get("decontam")
    if stage is None:
        return None
    dropped = sum(stage.report.dropped.values())
    parts = [tag("p", f"{dropped:,} documents removed because they hold benchmark items.", class_="lead")]
    found: dict[str, Any] = stage.extra.get("benchmarks") or {}
    if found:
        plain = {n: {k: v for k, v in b.items() if not isinstance(v, (dict, list))} for n, b in found.items()}
        parts.append(any_data(plain, limit=TOP))
        for name, b in found.items():
            if b.get("dirty"):
                items = list(b["dirty"].items())[:TOP]
                head = tag("summary", f"Items of {name} that were found", tag("span", f"{len(b['dirty'])}", class_="n"))
                body = table(("item", "documents that hold it"), items, numbers=(1,))
                parts.append(tag("details", head, body))
    hits = data.rows(
        "SELECT reason, source, origin, score, json_extract_string(evidence, '$.item') AS item, "
        "json_extract_string(evidence, '$.span') AS span FROM ledger WHERE starts_with(stage, 'decontam') "
        "AND starts_with(reason, 'benchmark') ORDER BY score DESC, origin LIMIT ?",
        (TOP,),
    )
    if hits:
        rows = [[r["reason"].removeprefix("benchmark:"), r["item"], r["source"], mask(r["origin"]), r["score"],
                 clip(mask(r["span"] or ""), 160)] for r in hits]  # fmt: skip
        parts.append(table(("benchmark", "item", "source", "document", "score", "matched text"), rows,
                           caption="Strongest overlaps", numbers=(4,)))  # fmt: skip
    elif not dropped:
        parts.append(tag("p", "No document holds an item of the benchmarks that were searched for.", class_="note"))
    return join(parts)


def _curve(stage: Manifest, figures: Figures) -> Html:
    bands, rows = (at(stage.extra, "s_curve", k, default=stage.config.get(k)) for k in ("bands", "rows"))
    threshold = stage.extra.get("threshold", stage.config.get("threshold"))
    if not isinstance(bands, int) or not isinstance(rows, int):
        return Html("")
    x = [i / 50 for i in range(51)]
    curve = {f"{bands} bands of {rows} rows": (x, [1 - (1 - j**rows) ** bands for j in x])}
    marks = []
    if isinstance(threshold, (int, float)):
        found = 1 - (1 - threshold**rows) ** bands
        marks = [(float(threshold), found, f"removed from {threshold:g} on: {found:.0%} of such pairs are proposed")]
    return figures.lines(
        "How likely a pair is proposed, 1 - (1 - J^rows)^bands, by its Jaccard similarity", curve, y="probability",
        x="Jaccard similarity of the two documents", marks=marks, mark_name="threshold",
    )  # fmt: skip


def _groups(data: RunData, extra: dict[str, Any]) -> Html:
    """The largest groups, from the stage's own figures or else from the ledger."""
    top = at(extra, "clusters", "top")
    if top is None:
        top = _groups_of_ledger(data)
    if not top:
        return Html("")
    rows = [
        [mask(str(c["origin"])), c["source"], c["documents"], c["least_jaccard"], mask("; ".join(c["removed"]))]
        for c in top[:TOP]
    ]
    count = at(extra, "clusters", "count")
    caption = f"The largest of {number(count)} groups" if isinstance(count, int) else "The largest groups"
    return join([
        tag("h3", "Groups of copies"),
        table(("stays", "source", "documents", "least Jaccard", "some of the removed"), rows, caption=caption,
              numbers=(2, 3)),
    ])  # fmt: skip


def _groups_of_ledger(data: RunData) -> list[dict[str, Any]]:
    rows = data.rows(
        "SELECT json_extract_string(evidence, '$.survivor') AS survivor, count(*) + 1 AS documents, "
        "min(score) AS least_jaccard, any_value(source) AS source, arg_min(origin, doc_key, 5) AS removed FROM ledger "
        "WHERE starts_with(stage, 'dedup') AND decision = 'dropped' GROUP BY 1 HAVING survivor IS NOT NULL "
        "ORDER BY documents DESC, survivor LIMIT ?",
        (TOP,),
    )
    if not rows:
        return []
    marks = ", ".join("unhex(?)" for _ in rows)
    found = data.rows(
        f"SELECT DISTINCT doc_id, origin FROM documents WHERE stage = ? AND doc_key IN ({marks})",
        (data.first_stage(), *(r["survivor"] for r in rows)),
    )
    names = {r["doc_id"]: r["origin"] for r in found}
    return [{**r, "origin": names.get(r["survivor"], r["survivor"])} for r in rows]
