"""The passages stage and the order of its input: none of it shows in what comes out, and the preferred copy stays."""

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedup.documents import documents_of, finished, ledger_of
from dedup.stages import WORDS
from fasttrain.comm.group import SoloGroup
from fasttrain.dedup import passages
from fasttrain.dedup.passages_config import RULES, PassagesConfig
from fasttrain.formats.stage import run_stage

ALONE = {
    "lines": {"lines": True, "line_documents": 2},
    "paragraphs": {"paragraphs": True, "paragraph_words": 3},
    "substring": {"substring": True, "min_bytes": 24},
    "fuzzy": {"fuzzy": {"min_words": 5, "max_bucket": 3, "bands": 24, "rows": 3}},
    "spans": {"spans": 2},
}
assert sorted(ALONE) == sorted(RULES)
ALL = {name: value for rule in ALONE.values() for name, value in rule.items()}
WAYS = {
    **ALONE,
    "none keeps a line": {**ALONE["lines"], "keep_line": "none"},
    "words": {"substring": True, "min_tokens": 9},
    "substrings by source": {**ALONE["substring"], "substring_scope": "source"},
    "near lines": {"fuzzy": {**ALONE["fuzzy"]["fuzzy"], "unit": "line"}},
    "all": ALL,
    "all everywhere, in pieces": {**ALL, "scope": "global", "memory_records": 16, "memory_bytes": 1 << 16},
    "all with priorities": {**ALL, "scope": "global", "priority": {"b": 2, "a": 1}},
}


def outcome(folder, rows, name, parts=1, **values):
    """What must not depend on the order of the rows: texts and ledger by doc_id, and the figures."""
    source = finished(folder / f"in-{name}", rows, parts)
    config = PassagesConfig.load({"least_left_bytes": 12, **values})
    m = run_stage(
        "passages", folder=folder / name, config=config, inputs=[source], world=SoloGroup(),
        body=lambda s: passages.run(s, config),
    )  # fmt: skip
    found = documents_of(folder / name), ledger_of(folder / name)
    return *(sorted(rows, key=lambda r: (r["doc_id"], str(r))) for rows in found), m.extra


PASSAGES = st.sampled_from(
    [
        "Menu of this site",
        "All rights reserved by the authors. Read the notice! Then go on.",
        "one two three four five six seven eight nine ten eleven twelve",
        "one two three four five six seven eight nine ten eleven twelfth",
        "zero two three four five six seven eight nine ten eleven twelve",
        "the same words and again the same words and again the same words",
        "漢字 はここで終わる。漢字 はここで始まる。",
        "one two three four",
        "x",
    ]
)
TEXT = st.lists(st.tuples(PASSAGES, st.sampled_from(["\n\n", "\n", ". ", " "])), max_size=7).map(
    lambda pieces: "".join(p + end for p, end in pieces)
)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    texts=st.lists(st.tuples(st.sampled_from("abc"), TEXT), min_size=2, max_size=9),
    parts=st.integers(1, 4),
    draws=st.randoms(use_true_random=False),
)
def test_the_order_of_the_input_changes_nothing(tmp_path_factory, way, texts, parts, draws):
    folder = tmp_path_factory.mktemp("order")
    rows = [(source, f"https://{source}.example/{i}", text) for i, (source, text) in enumerate(texts)]
    want = outcome(folder, rows, "one", **WAYS[way])
    draws.shuffle(rows)
    assert outcome(folder, rows, "other", parts, **WAYS[way]) == want


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "a", "b"), ("b", "c", "a")])
def test_the_order_of_sources_changes_nothing(tmp_path, order):
    draws = random.Random(9)
    shared = [" ".join(draws.choices(WORDS, k=30)) for _ in range(12)]
    rows = {
        source: [(source, f"{source}{i}", "\n\n".join(draws.sample(shared, 3))) for i in range(20)] for source in "abc"
    }
    values = {**ALL, "scope": "global"}
    listed = [row for source in order for row in rows[source]]
    every = [row for source in "abc" for row in rows[source]]
    found = outcome(tmp_path, listed, "listed", 3, **values)
    assert found == outcome(tmp_path, every, "all", 2, **values)
    assert {r["decision"] for r in found[1]} == {"kept", "edited", "dropped"}


@pytest.fixture(scope="module")
def library():
    """Modules of Python's library: character tables that are nearly one another, licences, tests of one make."""
    base = Path(sysconfig.get_paths()["stdlib"])
    paths = [p for name in ("encodings", "email", "json", "asyncio") for p in sorted((base / name).glob("*.py"))]
    rows = [(p.parent.name, f"{p.parent.name}/{p.name}", p.read_text("utf-8")[:20000]) for p in paths]
    assert len(rows) > 150
    return rows


REAL = {
    "lines": {"lines": True, "line_documents": 5},
    "paragraphs": {"paragraphs": True},
    "substring": {"substring": True, "min_bytes": 200},
    "fuzzy": {"fuzzy": {}},
    "spans": {"spans": 3},
}
REAL["all"] = {name: value for rule in list(REAL.values()) for name, value in rule.items()}
REAL["all with priorities"] = {**REAL["all"], "scope": "global", "priority": {"json": 1, "encodings": -1}}


@pytest.mark.parametrize("way", REAL)
def test_the_order_of_real_text_changes_nothing(tmp_path, library, way):
    want = outcome(tmp_path, library, "one", **REAL[way])
    assert sum(r["decision"] == "edited" for r in want[1]) >= 10
    other = random.Random(way).sample(library, len(library))
    assert outcome(tmp_path, other, "other", 7, **REAL[way], memory_records=2048) == want


SAID = "All rights are reserved here. Nothing of this may be copied. Ask the authors of it first."
TWICE = {**ALONE, "lines": {"lines": True, "line_documents": 1}}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("preferred", ["s", "t"])
def test_the_copy_of_the_preferred_source_stays(tmp_path, rule, preferred):
    """Of ten pairs of copies, whose doc_ids fall either way."""
    for i in range(10):
        rows = [(source, f"{source}{i}", f"The text of {source}.\n\n{SAID}\n\nThat was {source}.") for source in "st"]
        values = {**TWICE[rule], "scope": "global", "priority": {preferred: 1}}
        documents, ledger, _ = outcome(tmp_path, rows, f"out{i}", 2, **values)
        assert {d["source"] for d in documents if "Nothing of this" in d["text"]} == {preferred}
        (row,) = [r for r in ledger if r["decision"] == "edited"]
        assert row["source"] != preferred
        assert row["reason"] == f"passages:{rule}"
        assert f'"survivor_origin": "{preferred}{i}"' in row["evidence"]


@pytest.mark.parametrize("rule", RULES)
def test_without_priorities_the_smaller_doc_id_stays(tmp_path, rule):
    rows = [(f"s{i}", f"o{i}", f"Text number {WORDS[i]}.\n\n{SAID}\n\nThat was {WORDS[i]}.") for i in range(9)]
    documents, ledger, _ = outcome(tmp_path, rows, "out", 2, **{**TWICE[rule], "scope": "global"})
    (stays,) = [d for d in documents if "Nothing of this" in d["text"]]
    assert stays["doc_id"] == min(d["doc_id"] for d in documents)
    edited = [r for r in ledger if r["decision"] == "edited"]
    assert len(edited) == 8
    assert all(f'"survivor": "{stays["doc_id"].hex()}"' in r["evidence"] for r in edited)


def test_of_equal_doc_ids_the_text_decides(tmp_path):
    rows = [("s", "o", f"Text number {i}.\n\n{SAID}\n\nThat was {i}.") for i in range(4)]
    values = {"substring": True, "min_bytes": 40}
    assert outcome(tmp_path, rows, "one", **values) == outcome(tmp_path, rows[::-1], "other", 2, **values)
