"""Sections about duplicates and benchmarks: pairs proposed, verified and rejected, and what was held out."""

from typing import Any

from fasttrain.formats.manifest import Manifest
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData, at
from fasttrain.report.html import Html, any_data, join, number, pairs, table, tag
from fasttrain.report.samples import clip, look_up, mask

TOP = 20
SHOWN_GROUPS, SHOWN_TEXT = 8, 300  # groups of which texts are shown, and characters of each text
SHOWN_ORIGINS = 3


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
                 "propose is compared exactly before anything is removed, and a document goes only for one that stays.",
            class_="lead"),
    ]  # fmt: skip
    counted = extra.get("pairs") or stage.report.counts
    if counted:
        parts += [tag("h3", "Pairs"), pairs(counted)]
    if extra.get("alarms"):
        text = f"Sources that lose more than their alarm allows: {', '.join(extra['alarms'])}."
        parts.append(tag("p", tag("span", "alarm", class_="pill warn"), " ", text))
    parts.append(_buckets(extra))
    parts.append(_curve(stage, figures))
    measure = extra.get("verify", "jaccard")
    histogram = extra.get(f"{measure}_of_proposed")
    if histogram:
        title = f"Exact {'Jaccard similarity' if measure == 'jaccard' else measure} of the proposed pairs"
        parts.append(figures.bars(title, {"pairs": histogram}, y="pairs"))
    parts.append(_rejected(data, extra))
    if extra.get("sources"):
        parts += [tag("h3", "By source"), any_data(extra["sources"], limit=TOP)]
    parts.append(_groups(data, extra, figures))
    for name, title in (("semantic", "Copies in meaning"), ("against", "Copies of earlier corpora")):
        if extra.get(name):
            parts += [tag("h3", title), pairs(extra[name])]
    rest = {k: v for k, v in extra.items() if k in ("too_short_for_fuzzy", "verify", "threshold")}
    if rest:
        parts += [tag("h3", "Settings of the comparison"), any_data(rest)]
    return join(parts)


def benchmarks(data: RunData, figures: Figures) -> Html | None:
    """What overlapped with benchmark items, and what of them is left clean."""
    stage = data.manifests.get("decontam")
    if stage is None:
        return None
    dropped = sum(stage.report.dropped.values())
    rest = data.rows(
        "SELECT decision, count(*) AS n FROM ledger WHERE starts_with(stage, 'decontam') AND starts_with(reason, "
        "'benchmark') AND decision <> 'dropped' GROUP BY decision ORDER BY decision",
        (),
    )
    told = {"edited": "lost the words they share", "tagged": "were kept and flagged"}
    also = "".join(f" {r['n']:,} {told.get(r['decision'], r['decision'])}." for r in rest)
    parts = [tag("p", f"{dropped:,} documents removed because they hold benchmark items.{also}", class_="lead")]
    found: dict[str, Any] = stage.extra.get("benchmarks") or {}
    if found:
        plain = {n: {k: v for k, v in b.items() if not isinstance(v, (dict, list))} for n, b in found.items()}
        parts.append(any_data(plain, limit=TOP))
        files = [f.path for f in stage.files if f.path.startswith("subsets/") and f.rows]
        if files:
            text = "Rows of the benchmarks by what is known of them, in the stage's folder: "
            parts.append(tag("p", text, ", ".join(files), class_="note"))
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


def _buckets(extra: dict[str, Any]) -> Html:
    """How many documents shared a band value, and where not all of them were compared with all."""
    found = extra.get("buckets")
    if not found:
        return Html("")
    parts = [tag("h3", "Banding"), pairs(found)]
    if found.get("oversized_buckets"):
        text = (f"{number(found['oversized_buckets'])} band values were shared by more than "
                f"{number(found.get('max_bucket', 0))} documents (boilerplate, templates): there a document was "
                "compared with the best few only, so some pairs may have been missed.")  # fmt: skip
        parts.append(tag("p", tag("span", "capped", class_="pill warn"), " ", text))
    return join(parts)


def _rejected(data: RunData, extra: dict[str, Any]) -> Html:
    """The pairs that the hashes proposed and the comparison kept apart by the least."""
    closest = (extra.get("closest_rejected") or [])[:TOP]
    if not closest:
        return Html("")
    _, names = look_up(data, sorted({p[side] for p in closest for side in ("worse", "better")}))
    rows = [[p["score"], *(mask(names.get(p[side], p[side])) for side in ("better", "worse"))] for p in closest]
    body = table(("similarity", "stays", "stays too"), rows, caption="Just under the threshold", numbers=(0,))
    return tag("details", tag("summary", "Proposed and rejected: the closest pairs"), body)


def _some(group: dict[str, Any]) -> str:
    """Origins of a few of a group's removed documents, and how many more there are."""
    shown = group["removed"][:SHOWN_ORIGINS]
    more = group["documents"] - 1 - len(shown)
    return mask("; ".join(shown)) + (f"; and {more:,} more" if more > 0 else "")


def _groups(data: RunData, extra: dict[str, Any], figures: Figures) -> Html:
    """Groups by size, the largest (from the stage's figures or else from the ledger), how their texts begin."""
    top = at(extra, "clusters", "top")
    if top is None:
        top = _groups_of_ledger(data)
    if not top:
        return Html("")
    rows = [[mask(str(c["origin"])), c["source"], c["documents"], c["least_score"], _some(c)] for c in top[:TOP]]
    count, sizes = at(extra, "clusters", "count"), at(extra, "clusters", "sizes")
    caption = f"The largest of {number(count)} groups" if isinstance(count, int) else "The largest groups"
    parts = [tag("h3", "Groups of copies")]
    if sizes:
        parts.append(figures.bars("Groups by the number of their documents", {"groups": sizes}, y="groups"))
    parts.append(table(("stays", "source", "documents", "least similarity", "some of the removed"), rows,
                       caption=caption, numbers=(2, 3)))  # fmt: skip
    shown = [c for c in top[:SHOWN_GROUPS] if c.get("removed_ids")]
    texts, _ = look_up(data, sorted({i for c in shown for i in (c["survivor"], *c["removed_ids"])}))
    for c in shown:
        head = tag("summary", mask(str(c["origin"])), tag("span", f"{c['documents']:,}", class_="n"))
        named = [("stays", c["origin"], c["survivor"])]
        named += [("goes", origin, i) for origin, i in zip(c["removed"], c["removed_ids"])]
        gone = "(the text is not in this run folder)"
        lines = [[what, mask(str(origin)), clip(mask(texts.get(i, gone)), SHOWN_TEXT)] for what, origin, i in named]
        parts.append(tag("details", head, table(("", "document", "how its text begins"), lines)))
    return join(parts)


def _groups_of_ledger(data: RunData) -> list[dict[str, Any]]:
    rows = data.rows(
        "SELECT json_extract_string(evidence, '$.survivor') AS survivor, count(*) + 1 AS documents, "
        "min(score) AS least_score, any_value(source) AS source, arg_min(origin, doc_key, 5) AS removed FROM ledger "
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
