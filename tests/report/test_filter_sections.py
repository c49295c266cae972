"""The refinery's page on a manifest made by hand."""

import re
from types import SimpleNamespace

from fasttrain.formats.manifest import Report
from fasttrain.report.figures import Figures
from fasttrain.report.filter_sections import filters

HOSTILE = "<script>alert(1)</script>"


def entry(limit, edges, counts, broken, mode="drop"):
    asked = {s: sum(row) for s, row in counts.items()} or {"web": 5}
    full = None if limit is None else {"low": None, "high": None, "top": None, "log": False, "axis": None} | limit
    return {"limit": full, "mode": mode, "edges": edges, "counts": counts, "asked": asked,
            "broken": broken, "decided": broken}  # fmt: skip


def page(histograms, samples=None, counts=None, dropped=None):
    report = Report(kept=90, dropped=dropped or {}, counts=counts or {}, bytes_in=1, bytes_out=1)
    stage = SimpleNamespace(report=report, extra={"histograms": histograms, "samples": samples or {}})
    return filters(SimpleNamespace(manifests={"filter": stage}), Figures())


def bars(text, kind):
    return re.findall(rf'<rect x="([\d.]+)"[^>]*class="{kind}"><title>([^<]*)</title>', text)


def test_a_rule_has_its_histogram_and_threshold():
    bins = {"web": [9, 4, 2, 1], HOSTILE: [0, 1, 0, 0]}
    text = page({"f:x": entry({"high": 0.2, "top": 1}, [0.0, 0.1, 0.2, 0.3], bins, {"web": 3, HOSTILE: 0})})
    assert text.count('class="family"') == 1
    first = text.partition("</svg>")[0]
    assert [t for _, t in bars(first, "passed")] == ["0 to 0.1: 9", "0.1 to 0.2: 5"]
    assert [t for _, t in bars(first, "broken")] == ["0.2 to 0.3: 2", "over 0.3: 1"]
    assert re.search(r'<line x1="130.0" x2="130.0"', first)  # the middle of 260
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert "at most 0.2" in text
    assert "17.6%" in text  # 3 of 17


def test_two_limits_and_a_lower_one():
    edges = [0.0, 1.0, 2.0, 3.0]
    both = page({"f:x": entry({"low": 1.0, "high": 3.0}, edges, {"web": [1, 1, 1, 1]}, {"web": 2})}).partition(
        "</svg>"
    )[0]
    assert [t for _, t in bars(both, "broken")] == ["0 to 1: 1", "over 3: 1"]
    assert "1 to 3" in page({"f:x": entry({"low": 1.0, "high": 3.0}, edges, {"web": [1, 1, 1, 1]}, {"web": 2})})
    none = page({"f:x": entry({"high": 0}, edges, {"web": [7, 1, 0, 0]}, {"web": 1})}).partition("</svg>")[0]
    assert [t for _, t in bars(none, "passed")] == ["0 to 1: 7"]


def test_samples_on_both_sides_and_none_of_lists_and_words():
    rule = entry({"high": 0.2}, [0.0, 0.2], {"web": [1, 1]}, {"web": 1})
    near = {side: [[0.1, 0.3, "aa"]] for side in ("broken", "passed")}
    samples = {
        "near": {"f:x": near, "safety:words": near},
        "documents": {
            "aa": {"source": "web", "origin": "https://x.example/jane@mail.example", "text": f"zork {HOSTILE}"}
        },
    }
    text = page({"f:x": rule}, samples)
    assert text.count("zork") == 2
    assert "Breaks it, nearest" in text
    assert "Passes, nearest" in text
    assert HOSTILE not in text
    assert "jane@" not in text
    assert "zork" not in page({"safety:words": rule}, samples)


def test_what_was_edited_and_what_only_tags():
    counts = {"edited:c4:lines": 4, "lines:c4:few_words": 19, "tagged:f:x": 2}
    text = page({"f:x": entry(None, [], {}, {"web": 2}, mode="tag")}, counts=counts, dropped={"a": 10})
    assert "10 of 100 documents dropped (10.0%)" in text
    assert "tags only" in text
    assert "few_words" in text
    assert "<svg" not in text
    assert page({}).count("No family of rules was asked") == 1
    assert filters(SimpleNamespace(manifests={}), Figures()) is None
