"""Section about repeated passages: what was cut by source and rule, which lines a site repeats, the longest copies."""

from typing import Any

from fasttrain.filter import pii
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, join, pairs, table, tag
from fasttrain.report.samples import clip, mask
from fasttrain.text import columns

RULES = ("lines", "paragraphs", "substring", "fuzzy", "spans")
SHOWN_LINES, SHOWN_LONGEST, SHOWN_TEXT = 40, 20, 240
_MOST = 1 << 16  # bytes of a span that are read


def passages(data: RunData, figures: Figures) -> Html | None:
    """Bytes removed by source and rule, the most frequent boilerplate lines, the longest repeated spans."""
    stage = data.manifests.get("passages")
    if stage is None:
        return None
    extra, report = stage.extra, stage.report
    if not extra.get("rules"):
        return tag("p", "No rule of this stage is on: every document went on as it came.", class_="note")
    edited, dropped = report.counts.get("edited", 0), sum(report.dropped.values())
    lead = (
        f"{report.bytes_in - report.bytes_out:,} of {report.bytes_in:,} bytes cut: {edited:,} documents edited, "
        f"{dropped:,} dropped because too little was left. "
        f"{_what_stays(extra['rules'], stage.config.get('keep_line'))}"
    )
    parts = [tag("p", lead, class_="lead"), tag("p", f"Rules that are on: {', '.join(extra['rules'])}.", class_="note")]
    rows = [
        [name, c["documents"], c["edited"], c["dropped"], c["bytes_removed"], c["bytes_removed"] / max(c["bytes"], 1),
         *(c.get(f"bytes_{r}", 0) for r in RULES)]
        for name, c in extra["sources"].items()
    ]  # fmt: skip
    head = ("source", "documents", "edited", "dropped", "bytes removed", "share", *RULES)
    caption = "By source; the rules may overlap, so their bytes need not add up"
    parts += [tag("h3", "By source"), table(head, rows, caption=caption, numbers=tuple(range(1, len(head))))]
    removed = {r: {n: c[f"bytes_{r}"] for n, c in extra["sources"].items()} for r in extra["rules"]}
    if any(v for by_source in removed.values() for v in by_source.values()):
        parts.append(figures.bars("Bytes cut by source and rule", removed, y="bytes"))
    lines, longest = extra["common_lines"][:SHOWN_LINES], extra["longest"][:SHOWN_LONGEST]
    texts = _texts(data, [*lines, *longest])
    if lines:
        shown = [[_host(x["origin"]), x["documents"], t, mask(x["origin"])] for x, t in zip(lines, texts)]
        parts += [tag("h3", "Boilerplate"), table(("site or source", "documents", "line", "first in"), shown,
                  caption="Lines that many documents of one scope share", numbers=(1,))]  # fmt: skip
    if longest:
        shown = [[x["bytes"], mask(x["origin"]), mask(x["survivor_origin"]), t]
                 for x, t in zip(longest, texts[len(lines) :])]  # fmt: skip
        parts += [tag("h3", "Longest copies"), table(("bytes", "cut from", "stays in", "how it begins"), shown,
                  caption="The longest byte strings that stand twice", numbers=(0,))]  # fmt: skip
    if near := extra.get("fuzzy"):
        parts += [tag("h3", "The search for near copies"), pairs(_near(near))]
    if extra.get("substring"):
        parts += [tag("h3", "The search for substrings"), pairs(extra["substring"])]
    return join(parts)


def _near(found: dict[str, Any]) -> dict[str, Any]:
    """What was compared, proposed and verified, and what was capped."""
    buckets = found["buckets"]
    return {
        f"{found['unit']}s compared": found["units"],
        "cut": found["cuts"],
        "least exact similarity": found["threshold"],
        "share of pairs of that Jaccard that banding proposes": found["proposed_at_threshold"],
        **{f"pairs {name}": found["pairs"][name] for name in ("proposed", "verified", "rejected")},
        f"buckets of more than {buckets['max_bucket']}, compared with the earliest few only": buckets[
            "oversized_buckets"
        ],
        f"{found['unit']}s in them": buckets["documents_in_oversized_buckets"],
        "largest bucket": buckets["largest_bucket"],
    }


def _what_stays(rules: list[str], keep_line: str | None) -> str:
    copy = "a copy, or a verified near copy," if "fuzzy" in rules else "a copy"
    if "lines" not in rules or keep_line != "none":
        return f"Every cut is {copy} of a place earlier in the corpus."
    rest = f" Every other cut is {copy} of a place earlier in the corpus." if len(rules) > 1 else ""
    return f"No document keeps a boilerplate line, not even the first that holds it.{rest}"


def _host(origin: str) -> str:
    return mask(origin.split("/")[2] if "://" in origin else origin.split("#")[0])


def _texts(data: RunData, spans: list[dict[str, Any]]) -> list[str]:
    """The beginning of each span in its document as the stage before had it, without personal data."""
    ids = sorted({s["doc_id"] for s in spans})
    if not ids:
        return []
    marks = ", ".join("unhex(?)" for _ in ids)
    rows = data.rows(f"SELECT doc_id, text FROM documents WHERE stage = 'dedup' AND doc_key IN ({marks})", tuple(ids))
    texts = {r["doc_id"]: r["text"].encode() for r in rows}
    found = []
    for s in spans:
        text = texts.get(s["doc_id"])
        end = min(s["end"], s["begin"] + _MOST)
        found.append("(not in this folder)" if text is None else text[s["begin"] : end].decode("utf-8", "replace"))
    masked = pii.mask(columns.from_texts(found)).column
    return [clip(mask(masked[i].decode("utf-8", "replace")), SHOWN_TEXT) for i in range(len(found))]
