"""Sections about duplicates and benchmarks: pairs proposed, verified and rejected, and what was held out."""

from typing import Any

from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, any_data, join, table, tag
from fasttrain.report.samples import mask

TOP = 20


def duplicates(data: RunData, figures: Figures) -> Html | None:
    """Counts of pairs, the curve of the banding, the largest clusters."""
    stage = data.manifests.get("dedup")
    if stage is None:
        return None
    dropped = sum(stage.report.dropped.values())
    parts = [
        tag("p", f"{dropped:,} documents removed, each a verified copy of one that stays. A pair that the hashes "
                 "propose is compared exactly before anything is removed.", class_="lead"),
    ]  # fmt: skip
    if stage.report.counts:
        parts += [tag("h3", "Pairs and groups"), any_data(stage.report.counts)]
    bands, rows = (
        _number(stage.config, ("bands", "num_bands")),
        _number(stage.config, ("rows", "band_rows", "num_rows")),
    )
    if bands and rows:
        at = [i / 50 for i in range(51)]
        curve = {f"{bands} bands of {rows}": (at, [1 - (1 - j**rows) ** bands for j in at])}
        threshold = stage.config.get("threshold") or stage.config.get("jaccard") or stage.config.get("min_jaccard")
        marks = []
        if isinstance(threshold, (int, float)):
            marks = [(float(threshold), 1 - (1 - threshold**rows) ** bands, f"removal from Jaccard {threshold:g}")]
        figure = figures.lines(
            "Probability that a pair is proposed, 1 - (1 - J^rows)^bands, by its Jaccard similarity", curve,
            y="probability", x="Jaccard similarity of the two documents", marks=marks,
        )  # fmt: skip
        parts.append(figure)
    parts.append(_clusters(data))
    if stage.extra:
        parts += [tag("h3", "The stage's own report"), any_data(stage.extra, limit=TOP)]
    return join(parts)


def benchmarks(data: RunData, figures: Figures) -> Html | None:
    """What overlapped with benchmark items."""
    stage = data.manifests.get("decontam")
    if stage is None:
        return None
    dropped = sum(stage.report.dropped.values())
    parts = [tag("p", f"{dropped:,} documents removed because they hold benchmark items.", class_="lead")]
    reasons = data.rows(
        "SELECT reason, source, count(*) AS documents FROM ledger WHERE starts_with(stage, 'decontam') "
        "AND decision = 'dropped' GROUP BY ALL ORDER BY documents DESC LIMIT ?",
        (TOP,),
    )
    if reasons:
        parts.append(
            table(("benchmark", "source", "documents"), [list(r.values()) for r in reasons],
                  caption="Removed documents by benchmark and source", numbers=(2,))
        )  # fmt: skip
    if stage.report.counts:
        parts.append(any_data(stage.report.counts))
    if stage.extra:
        parts += [tag("h3", "By benchmark"), any_data(stage.extra, limit=TOP)]
    return join(parts)


def _clusters(data: RunData) -> Html:
    rows = data.rows(
        "SELECT coalesce(json_extract_string(evidence, '$.survivor'), json_extract_string(evidence, '$.kept')) "
        "AS survivor, count(*) AS copies, min(score) AS least, any_value(source) AS source, "
        "arg_min(origin, doc_key, 3) AS origins FROM ledger WHERE starts_with(stage, 'dedup') "
        "AND decision = 'dropped' GROUP BY 1 HAVING survivor IS NOT NULL ORDER BY copies DESC, survivor LIMIT ?",
        (TOP,),
    )
    if not rows:
        return Html("")
    marks = ", ".join("unhex(?)" for _ in rows)
    names: dict[str, Any] = {
        r["doc_id"]: r["origin"]
        for r in data.rows(
            f"SELECT DISTINCT doc_id, origin FROM documents WHERE stage = ? AND doc_key IN ({marks})",
            (data.first_stage(), *(r["survivor"] for r in rows)),
        )
    }
    body = [
        [mask(str(names.get(r["survivor"], r["survivor"]))), r["source"], r["copies"], r["least"],
         mask("; ".join(r["origins"]))]
        for r in rows
    ]  # fmt: skip
    return join([
        tag("h3", "Largest groups"),
        table(("kept", "source of the copies", "copies removed", "least similarity", "some of the copies"), body,
              numbers=(2, 3)),
    ])  # fmt: skip


def _number(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for value in (config, *(v for v in config.values() if isinstance(v, dict))):
        for name in names:
            if isinstance(value.get(name), int):
                return int(value[name])
    return None
