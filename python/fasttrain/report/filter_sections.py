"""The refinery's filters: for each rule how what it compares is distributed, where its threshold stands, what it took
from which source, and the documents beside the threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttrain.formats.manifest import Manifest
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, join, table, tag, words
from fasttrain.report.samples import clip, mask

WIDTH, HEIGHT = 260, 56
MAX_SOURCES = 12
SILENT = ("url:", "safety:")
_ABOUT = {
    "url": "Lists of domains, URLs and words",
    "language": "Language",
    "gopher_repetition": "Gopher, repetition",
    "gopher_quality": "Gopher, quality",
    "c4": "C4",
    "refinedweb": "RefinedWeb",
    "fineweb": "FineWeb",
    "quality": "Quality classifier",
    "safety": "Safety",
    "pii": "Personal data",
}


def filters(data: RunData, figures: Figures) -> Html | None:
    """Every family and rule of the filter stage."""
    stage = data.manifests.get("filter")
    if stage is None:
        return None
    found: Mapping[str, Any] = stage.extra.get("histograms") or {}
    dropped, kept = sum(stage.report.dropped.values()), stage.report.kept
    share = f"{dropped / (kept + dropped):.1%}" if kept + dropped else "none"
    parts = [
        tag("p", f"{dropped:,} of {kept + dropped:,} documents dropped ({share}). Bars show documents by what a rule "
                 "compares, on a square-root scale; the line is the threshold, red is what breaks it. A rule counts as "
                 "the one that dropped a document when it is the first that the document breaks.", class_="lead"),
        _edits(stage),
    ]  # fmt: skip
    families: dict[str, list[str]] = {}
    for rule in found:
        families.setdefault(rule.partition(":")[0], []).append(rule)
    near = stage.extra.get("samples") or {}
    for family, rules in families.items():
        parts.append(_family(family, {rule: found[rule] for rule in rules}, near))
    if not families:
        parts.append(tag("p", "No family of rules was asked.", class_="note"))
    return join(parts)


def _family(family: str, rules: Mapping[str, Mapping[str, Any]], near: Mapping[str, Any]) -> Html:
    modes = {entry["mode"] for entry in rules.values()}
    pills = [tag("span", "tags only" if m == "tag" else "drops", class_="pill " + ("warn" if m == "tag" else "good"))
             for m in sorted(modes)]  # fmt: skip
    rows, blocks = [], []
    for rule, entry in rules.items():
        asked, broken, decided = (sum(entry[key].values()) for key in ("asked", "broken", "decided"))
        name = words(rule.partition(":")[2])
        rows.append([
            tag("span", name, class_="rule"), tag("span", _threshold(entry["limit"]), class_="passes"),
            _histogram(entry, _total(entry), f"{family}, {name}"), asked, broken, _share(broken, asked), decided,
        ])  # fmt: skip
        if broken or entry["limit"] is not None:
            blocks.append(_details(rule, entry, near))
    last = "tagged first by it" if modes == {"tag"} else "dropped by it"
    made = table(("rule", "passes", "distribution", "asked", "break it", "", last), rows, numbers=(3, 4, 6))
    head = tag("h3", _ABOUT.get(family, words(family)), " ", *pills)
    more = tag("details", tag("summary", "By source, and documents on both sides of each threshold"), *blocks)
    return tag("div", head, made, more if blocks else "", class_="family")


def _details(rule: str, entry: Mapping[str, Any], near: Mapping[str, Any]) -> Html:
    """By source, and the documents on both sides of the threshold."""
    sources = sorted(entry["asked"], key=lambda s: (-entry["broken"].get(s, 0), -entry["asked"][s], s))
    rows = [
        [s, _histogram(entry, entry["counts"].get(s, []), f"{rule} in {s}"), entry["asked"][s],
         entry["broken"].get(s, 0), _share(entry["broken"].get(s, 0), entry["asked"][s]), entry["decided"].get(s, 0)]
        for s in sources[:MAX_SOURCES]
    ]  # fmt: skip
    left = len(sources) - len(rows)
    broken = sum(entry["broken"].values())
    return tag(
        "details",
        tag("summary", tag("strong", rule), tag("span", f"{broken:,} break it, {len(sources)} sources", class_="n")),
        table(("source", "distribution", "asked", "break it", "", "decided"), rows, numbers=(2, 3, 5)),
        tag("p", f"and {left} more sources", class_="note") if left > 0 else "",
        _beside(rule, near),
    )


def _beside(rule: str, near: Mapping[str, Any]) -> Html:
    sides = (near.get("near") or {}).get(rule, {})
    documents = near.get("documents") or {}
    columns = []
    for side, title in (("broken", "Breaks it"), ("passed", "Passes")):
        cards = [_sample(rule, entry, documents.get(entry[2], {}), side) for entry in sides.get(side, [])]
        if cards:
            columns.append(
                tag("div", tag("h4", f"{title}, nearest to the threshold" if len(sides) > 1 else title), *cards)
            )
    return tag("div", *columns, class_="two") if columns else Html("")


def _sample(rule: str, entry: Sequence[Any], document: Mapping[str, str], side: str) -> Html:
    _, value, doc_id = entry
    head = tag("p", tag("strong", mask(document.get("origin", doc_id))), f" ({document.get('source', '?')}) ",
               tag("span", _number(value), class_="pill " + ("bad" if side == "broken" else "good")))  # fmt: skip
    if rule.startswith(SILENT):
        return tag("div", head, class_="sample")
    text = document.get("text", "")
    return tag("div", head, tag("pre", clip(mask(text)) if text else "(empty)"), class_="sample")


def _edits(stage: Manifest) -> Html:
    """Lines that were taken out, by rule, and what else was edited."""
    counts = stage.report.counts
    lines = {k.removeprefix("lines:"): v for k, v in counts.items() if k.startswith("lines:")}
    edited = {k.removeprefix("edited:"): v for k, v in counts.items() if k.startswith("edited:")}
    if not edited:
        return Html("")
    parts = [table(("edit", "documents"), sorted(edited.items(), key=lambda kv: -kv[1]), numbers=(1,),
                   caption="Documents that were edited and kept")]  # fmt: skip
    if lines:
        ranked = sorted(lines.items(), key=lambda kv: -kv[1])
        parts.append(
            table(("line rule", "lines"), ranked, numbers=(1,), caption="Lines that each rule refused in them")
        )
    return tag("div", *(tag("div", part) for part in parts), class_="two")


def _total(entry: Mapping[str, Any]) -> list[int]:
    return [sum(column) for column in zip(*entry["counts"].values())]


def _share(part: int, whole: int) -> Html:
    value = part / whole if whole else 0.0
    return tag("div", f"{value:.1%}", tag("span", class_="share", style=f"width:{100 * value:.1f}%"), class_="narrow")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _threshold(limit: Mapping[str, Any] | None) -> str:
    if limit is None:
        return "–"
    low, high = limit["low"], limit["high"]
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    return f"at least {_number(low)}" if low is not None else f"at most {_number(high)}"


def _histogram(entry: Mapping[str, Any], bins: Sequence[int], title: str) -> Html:
    """Bars from edge to edge, the last for what is above; red where a document breaks the rule."""
    edges, limit = entry.get("edges") or [], entry["limit"]
    if not edges or limit is None or not any(bins):
        return Html("")
    num, highest = len(edges), max(bins)
    step = WIDTH / num
    ends = [*edges[1:], float("inf")]
    low, high = limit["low"], limit["high"]
    bars = []
    for i, count in enumerate(bins):
        if count == 0:
            continue
        height = max(1.5, (HEIGHT - 14) * (count / highest) ** 0.5)
        # The bin that begins at the upper limit holds what is equal to it, which passes, and what is over it.
        over = high is not None and edges[i] >= high and edges[i] > 0
        fails = over or (low is not None and ends[i] <= low)
        above = f"over {_number(edges[i])}" if i + 1 == num else f"{_number(edges[i])} to {_number(ends[i])}"
        bars.append(
            tag("rect", tag("title", f"{above}: {count:,}"), x=f"{i * step:.1f}", y=f"{HEIGHT - 12 - height:.1f}",
                width=f"{step - 0.8:.1f}", height=f"{height:.1f}", class_="broken" if fails else "passed")
        )  # fmt: skip
    marks = [
        tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=0, y2=HEIGHT - 12)
        for end in (low, high) if end is not None and (x := _place(end, edges, step)) is not None
    ]  # fmt: skip
    labels = [
        tag("text", _number(edges[0]), x=0, y=HEIGHT - 1),
        tag("text", f"{_number(edges[-1])}+" if edges[-1] != limit["top"] else _number(edges[-1]), x=WIDTH,
            y=HEIGHT - 1, text_anchor="end"),
    ]  # fmt: skip
    base = tag("path", d=f"M0 {HEIGHT - 12}H{WIDTH}")
    return tag("svg", base, *bars, *marks, *labels, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="histogram", role="img",
               aria_label=f"Distribution of {title}", width=WIDTH, height=HEIGHT)  # fmt: skip


def _place(value: float, edges: Sequence[float], step: float) -> float | None:
    """Where a value lies on the axis; bins are equally wide whatever their edges are."""
    for i in range(len(edges) - 1):
        if edges[i] <= value < edges[i + 1]:
            return step * (i + (value - edges[i]) / (edges[i + 1] - edges[i]))
    return step * (len(edges) - 1) if value == edges[-1] else None
