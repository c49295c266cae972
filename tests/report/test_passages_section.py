"""The section on repeated passages says of every rule whether a copy of what was cut stays."""

from types import SimpleNamespace

import pytest

from dedup.test_passages import cut, site
from fasttrain.report.figures import Figures
from fasttrain.report.passages_sections import passages

COPY = "Every cut is a copy of a place earlier in the corpus."
NO_LINE = "No document keeps a boilerplate line, not even the first that holds it."
OTHER = "Every other cut is a copy of a place earlier in the corpus."


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"lines": True}, {COPY}),
        ({"lines": True, "keep_line": "none"}, {NO_LINE}),
        ({"lines": True, "paragraphs": True, "keep_line": "none"}, {NO_LINE, OTHER}),
        ({"paragraphs": True, "keep_line": "none"}, {COPY}),
    ],
)
def test_the_lead_says_what_stays(tmp_path, rules, said):
    manifest, found = cut(tmp_path, site(12), **rules)
    data = SimpleNamespace(manifests={"passages": manifest}, rows=lambda sql, parameters=(): [])
    html = str(passages(data, Figures()))
    assert {s for s in (COPY, NO_LINE, OTHER) if s in html} == said
    if rules.get("lines"):
        assert sum("Copyright 2014" in t for t in found.values()) == (NO_LINE not in said)


def test_near_copies_are_said_to_be_near(tmp_path):
    words = " ".join(f"word{chr(97 + i)}" for i in range(26))
    manifest, _ = cut(tmp_path, [("s", "a", words), ("s", "b", f"own\n\n{words} more")], fuzzy={})
    data = SimpleNamespace(manifests={"passages": manifest}, rows=lambda sql, parameters=(): [])
    html = str(passages(data, Figures()))
    assert "Every cut is a copy, or a verified near copy, of a place earlier in the corpus." in html
    for said in ("paragraphs compared", "buckets of more than 64", "pairs verified"):
        assert said in html
