"""Runs of sentences or lines that repeat (C4): equal to the definition, the first copy stays whole."""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dedup.documents import ledger_of
from dedup.test_passages import cut
from fasttrain.core.errors import ConfigError
from fasttrain.dedup.lines import sentence_spans
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.text import columns
from fasttrain.text.shingle_ref import words

BREAK = re.compile(
    "\n|(?<=[\u3002\uff01\uff1f])|(?<=[.?!])[ \t\r]|(?<=[.?!][\"')\\]}])[ \t\r]|(?<=[.?!][\"')\\]}]{2})[ \t\r]"
)


def sentences(text):
    """(begin, end) of each, in code points."""
    found, at = [], 0
    for m in BREAK.finditer(text):
        found.append((at, m.start()))
        at = m.end()
    return [*found, (at, len(text))]


PIECES = ["A b. ", "c d", "e? ", "F!", ' "G h." ', "i) ", ".) ", "\n", "\n\n", "漢。", "字！ ", " ", "x\r\n", "No. 1 "]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(st.lists(TEXT, max_size=4))
@example([". a", " b. "])
@example(["a.", " b", "漢。", ""])
def test_sentences_are_those_of_the_definition(texts):
    column = columns.from_texts(texts)
    of, begins, ends = sentence_spans(column) if texts else ([], [], [])
    found = [[] for _ in texts]
    for d, begin, end in zip(of, begins, ends):
        if begin < end:
            found[d].append(bytes(column.data[begin:end]).decode())
    assert found == [[t[b:e] for b, e in sentences(t) if b < e] for t in texts]


def brute(texts, n, split):
    first, left = {}, []
    for d, text in enumerate(texts):
        full = [s for s in split(text) if words(text[slice(*s)].encode())]
        goes = []
        for i in range(len(full) - n + 1):
            run = full[i : i + n]
            key = tuple(w for b, e in run for w in (*words(text[b:e].encode()), "/"))
            e, stop = first.setdefault(key, (d, run[-1][1]))
            if e != d or run[0][0] >= stop:  # the first itself overlaps itself
                end = run[-1][1]
                goes.append((run[0][0], end + (text[end : end + 1] in list(" \t\n\r\v\f"))))
        left.append("".join(c for i, c in enumerate(text) if not any(b <= i < e for b, e in goes)))
    return left


def lines(text):
    found, at = [], 0
    for line in text.split("\n"):
        found.append((at, at + len(line)))
        at += len(line) + 1
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(TEXT, min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(["sentence", "line"]),
    st.integers(0, 1000),
)
@example(["A b. " * 8], 3, "sentence", 0)
def test_runs_equal_brute_force(tmp_path_factory, texts, n, unit, seed):
    rows = [("s", f"o{i}", t) for i, t in enumerate(texts)]
    values = {"spans": n, "span_of": unit, "fold_digits": True, "scope": "global", "memory_records": 16}
    _, found = cut(tmp_path_factory.mktemp("x"), rows, "out", 2, seed=seed, **values)
    assert [found.get(f"o{i}", "") for i in range(len(texts))] == brute(
        texts, n, sentences if unit == "sentence" else lines
    )


def test_three_sentences_go_where_they_stand_again(tmp_path):
    shared = "One of them. Two of them! Three of them? "
    rows = [("s", "a", f"Own a. {shared}Tail a."), ("s", "b", f"Own b. {shared}Tail b."),
            ("s", "c", "Own c. One of them. Two of them! Tail c."), ("t", "d", shared)]  # fmt: skip
    m, found = cut(tmp_path, rows, spans=3)
    assert found == {**{o: t for _, o, t in rows}, "b": "Own b. Tail b."}
    assert m.extra["sources"]["s"]["bytes_spans"] == len(shared)
    (row,) = [r for r in ledger_of(tmp_path / "out") if r["decision"] == "edited"]
    assert row["reason"] == "passages:spans"
    assert '"survivor_origin":"a"' in row["evidence"].replace(" ", "")


@pytest.mark.parametrize("values", [{"spans": -1}, {"spans": 65}, {"spans": 3, "span_of": "word"}])
def test_bad_settings_are_refused(values):
    with pytest.raises(ConfigError, match="span"):
        PassagesConfig.load(values)
