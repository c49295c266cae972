"""The passages stage: exactly what repeats goes, one copy stays, texts stay valid UTF-8, and nothing else changes."""

import json
import random
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dedup.documents import documents_of, finished, ledger_of
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.dedup import passages
from fasttrain.dedup.passages_config import SUBSTRING, PassagesConfig
from fasttrain.dedup.passages_output import fitted, union, without
from fasttrain.formats.stage import run_stage
from fasttrain.text.shingle_ref import words
from fasttrain.text.word_places_ref import places_of

KEEP = {"least_left_bytes": 0, "least_left_share": 1e-9}


def cut(folder, rows, name="out", parts=1, /, seed=0, **values):
    """The manifest, and the texts by origin, of rows listed in the order of preference (by doc_id); the stage reads
    them in an order drawn by `seed`."""
    source = folder / f"in-{parts}"
    if not source.exists():
        order = random.Random(seed).sample(range(len(rows)), len(rows))
        finished(source, [rows[i] for i in order], parts, [i.to_bytes(16, "big") for i in order])
    config = PassagesConfig.load({**KEEP, **values})
    m = run_stage(
        "passages", folder=folder / name, config=config, inputs=[source], world=SoloGroup(),
        body=lambda s: passages.run(s, config),
    )  # fmt: skip
    found = sorted(documents_of(folder / name), key=lambda r: r["doc_id"])
    return m, {r["origin"]: r["text"] for r in found}


def brute(texts, least):
    """Spans by document: all windows whose first place is another one that does not overlap it."""
    first, goes = {}, defaultdict(set)
    for d, text in enumerate(texts):
        for i in range(len(text) - least + 1):
            e, j = first.setdefault(text[i : i + least], (d, i))
            if e != d or i >= j + least:
                goes[d].update(range(i, i + least))
    return ["".join(c for i, c in enumerate(t) if i not in goes[d]) for d, t in enumerate(texts)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.one_of(st.text("ab", max_size=150), st.text("a", max_size=90)), min_size=1, max_size=5),
    copies=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=3),
    memory=st.sampled_from([1 << 16, 1 << 30]),
    seed=st.integers(0, 1000),
)
@example(texts=["a" * 17], copies=[], memory=1 << 30, seed=0)
def test_substrings_equal_brute_force(tmp_path_factory, texts, copies, memory, seed):
    shared = "abcdefghijklmnopqrstuvwxyz"
    for d, at in copies:
        text = texts[d % len(texts)]
        texts[d % len(texts)] = text[:at] + shared + text[at:]
    rows = [("s", f"o{i}", t) for i, t in enumerate(texts)]
    _, found = cut(tmp_path_factory.mktemp("x"), rows, seed=seed, substring=True, min_bytes=16, whole_words=False,
                   memory_bytes=memory, memory_records=16)  # fmt: skip
    want = brute(texts, 16)
    assert [found.get(f"o{i}", "") for i in range(len(texts))] == want


def window(text, begin, tokens):
    """Where the shortest string from `begin` ends that holds so many words; None when there is none."""
    low, high = begin, len(text)
    if len(words(text[begin:])) < tokens:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(words(text[begin:middle])) >= tokens else (middle + 1, high)
    return low


def brute_tokens(texts, tokens):
    """As brute, of windows of words; each goes on until the next word while its first copy is the same."""
    first, left = {}, []
    for d, text in enumerate(texts):
        starts, goes = {p[0] for p in places_of(text)}, []
        for i in range(len(text)):
            if (end := window(text, i, tokens)) is None:
                break
            e, j = first.setdefault(text[i:end], (d, i))
            there = j + end - i
            if e == d and i < there:
                continue
            stop = i if e == d else len(texts[e])
            while end < len(text) and end not in starts and there < stop and text[end] == texts[e][there]:
                end, there = end + 1, there + 1
            goes.append((i, end))
        left.append(without(text, [fitted(text, *span, SUBSTRING, False) for span in union(goes)]).decode())
    return left


PIECES = st.lists(
    st.sampled_from(["a ", "b ", "c", ", ", "漢", "字", "é", "e\u0301 ", "12 ", "word ", "\n"]), max_size=60
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(PIECES.map("".join), min_size=1, max_size=5),
    copies=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(0, 30)), max_size=4),
    memory=st.sampled_from([1 << 16, 1 << 30]),
    tokens=st.sampled_from([9, 10, 13]),
    seed=st.integers(0, 1000),
)
@example(texts=["a " * 30], copies=[], memory=1 << 30, tokens=9, seed=0)
@example(texts=["漢" * 30], copies=[], memory=1 << 30, tokens=9, seed=0)
@example(
    texts=["a,b" * 3 + "cc dd", "a,b" * 3 + "cc", "x" + "a,b" * 3 + "c ee"],
    copies=[],
    memory=1 << 16,
    tokens=10,
    seed=0,
)
def test_substrings_of_words_equal_brute_force(tmp_path_factory, texts, copies, memory, tokens, seed):
    shared = "one, two three 漢字 four. five six (seven) eight nine ten eleven"
    for d, at, start in copies:
        text = texts[d % len(texts)]
        texts[d % len(texts)] = text[:at] + shared[start:] + text[at:]
    rows = [("s", f"o{i}", t) for i, t in enumerate(texts)]
    _, found = cut(tmp_path_factory.mktemp("x"), rows, seed=seed, substring=True, min_tokens=tokens, whole_words=False,
                   memory_bytes=memory, memory_records=16)  # fmt: skip
    want = brute_tokens([t.encode() for t in texts], tokens)
    assert [found.get(f"o{i}", "") for i in range(len(texts))] == want


def test_a_copy_of_so_many_words_goes_whole(tmp_path):
    nine = "one two three four five six seven eight ninth"
    rows = [("s", "a", f"begin {nine} end"), ("s", "b", f"other {nine} rest"), ("s", "c", f"third{nine[3:]} more")]
    _, found = cut(tmp_path, rows, substring=True, min_tokens=9)
    assert found == {"a": rows[0][2], "b": "other rest", "c": rows[2][2]}
    with pytest.raises(ConfigError, match="min_bytes or min_tokens may be set, got both"):
        PassagesConfig.load({"min_bytes": 50, "min_tokens": 50})
    with pytest.raises(ConfigError, match="min_tokens"):
        PassagesConfig.load({"min_tokens": 8})
    assert PassagesConfig(min_tokens=50).least_bytes == 99


MULTI = st.text("aé漢😀\u0301 ", min_size=0, max_size=40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(MULTI, MULTI), min_size=2, max_size=5), words=st.booleans())
def test_cuts_keep_whole_code_points(tmp_path_factory, parts, words):
    shared = "漢字かな😀é" * 4
    rows = [("s", f"o{i}", a + shared + b) for i, (a, b) in enumerate(parts)]
    _, found = cut(tmp_path_factory.mktemp("x"), rows, substring=True, min_bytes=17, whole_words=words)
    assert found["o0"].count("漢字") >= 1
    for text in found.values():
        assert "\ufffd" not in text.encode().decode("utf-8")


def test_a_cut_ends_between_words():
    text = b"one two three four"
    assert text[slice(*fitted(text, 1, 17, 2, True))] == b"two three "
    assert fitted(text, 0, 18, 2, True) == (0, 18)
    assert fitted("é漢".encode(), 1, 4, 2, False) == (2, 2)
    assert union([(3, 5), (0, 2), (2, 3), (7, 8)]) == [(0, 5), (7, 8)]
    assert without(b"abcdefghi", [(0, 5), (7, 8)]) == b"fgi"


NOTICE = "Copyright 2014 The Authors. All rights reserved here"


def site(n, host="a.example"):
    return [("web", f"https://{host}/{i}", f"Title {'xyz'[i % 3]} page\n{NOTICE}\nbody of {chr(97 + i)} is its own\n")
            for i in range(n)]  # fmt: skip


def test_a_line_of_many_documents_of_a_domain_stays_once(tmp_path):
    rows = [*site(12), *site(3, "b.example"), ("code", "x.go", f"{NOTICE}\ncode\n")]
    m, found = cut(tmp_path, rows, lines=True)
    held = [o for o, t in found.items() if NOTICE in t]
    assert held == ["https://a.example/0", *(f"https://b.example/{i}" for i in range(3)), "x.go"]
    assert found["https://a.example/5"] == "Title z page\nbody of f is its own\n"
    assert m.extra["sources"]["web"]["bytes_lines"] == 11 * (len(NOTICE) + 1)
    (line,) = m.extra["common_lines"]
    assert (line["documents"], line["origin"]) == (12, "https://a.example/0")
    assert rows[0][2][line["begin"] : line["end"]] == NOTICE
    (row,) = [r for r in ledger_of(tmp_path / "out") if r["origin"].endswith("a.example/5")]
    assert (row["decision"], row["reason"]) == ("edited", "passages:lines")
    said = json.loads(row["evidence"])
    assert said["survivor_origin"] == "https://a.example/0"
    assert said["bytes_removed"] == len(NOTICE) + 1
    m, found = cut(tmp_path, rows, "none", lines=True, keep_line="none")
    assert not any(NOTICE in t for o, t in found.items() if "a.example" in o)
    _, found = cut(tmp_path, rows, "fraction", lines=True, line_documents=2, line_fraction=0.99)
    assert sum(NOTICE in t for t in found.values()) == 3


def test_lines_that_differ_in_numbers_are_the_same_only_when_asked(tmp_path):
    rows = [("table", f"o{i}", f"name {chr(97 + i)}\nBirth rate is {i}.{i} for all\n") for i in range(12)]
    _, found = cut(tmp_path, rows, lines=True)
    assert found == {o: t for _, o, t in rows}
    _, found = cut(tmp_path, rows, "folded", lines=True, fold_digits=True)
    assert sum("Birth" in t for t in found.values()) == 1


def test_paragraphs_stay_in_the_earliest_document(tmp_path):
    long = " ".join(f"word{chr(97 + i)}" for i in range(24))
    rows = [("s", "a", f"{long}\nsecond line\n\nown a"), ("s", "b", f"own b\n\n{long.upper()}\nsecond, line!\n\ntail"),
            ("t", "c", f"{long}\nsecond line\n\nown c"), ("s", "d", f"{long}\n\nnot the same paragraph")]  # fmt: skip
    _, found = cut(tmp_path, rows, paragraphs=True)
    assert found == {**{o: t for _, o, t in rows}, "b": "own b\n\ntail"}
    _, found = cut(tmp_path, rows, "global", paragraphs=True, scope="global")
    assert found["c"] == "own c"


def test_what_is_left_too_short_is_dropped(tmp_path):
    text = " ".join(f"w{chr(97 + i % 26)}{'xyz'[i // 26]}" for i in range(70))
    rows = [("s", "a", text), ("s", "b", text + " end"), ("s", "c", text + " and more than that " * 4)]
    m, found = cut(tmp_path, rows, substring=True, min_bytes=100, least_left_bytes=20)
    assert found.keys() == {"a", "c"}
    assert m.report.dropped == {"passages:too_short": 1}
    assert m.report.counts["edited"] == 1
    assert found["a"] == text
    assert m.extra["longest"][0]["survivor_origin"] == "a"


def test_exempt_sources_take_no_part(tmp_path):
    text = "the same words again and again, " * 2
    rows = [("code", "a", text), ("code", "b", text), ("s", "c", text + "x")]
    _, found = cut(tmp_path, rows, substring=True, lines=True, paragraphs=True, line_documents=1, paragraph_words=3,
                   min_bytes=20, exempt=["code"])  # fmt: skip
    assert found["a"] == found["b"] == text


def test_a_source_may_be_its_own_scope(tmp_path):
    text = "what two sources share is no copy here. "
    _, found = cut(tmp_path, [("s", "a", text), ("t", "b", text), ("t", "c", "z " + text)], substring=True,
                   min_bytes=30, substring_scope="source")  # fmt: skip
    assert (found["a"], found["b"]) == (text, text)
    assert len(found["c"]) < 10


RULES = {"lines": True, "paragraphs": True, "substring": True, "line_documents": 3, "min_bytes": 40}


def contents(folder):
    return documents_of(folder), ledger_of(folder)


def test_parts_and_memory_change_nothing(tmp_path):
    rows = [
        *site(9),
        *site(7, "b.example"),
        *(("s", f"p{i}", f"{i} " + "a passage of some length " * 3) for i in range(9)),
    ]
    cut(tmp_path, rows, "one", 1, **RULES)
    want = contents(tmp_path / "one")
    assert any(r["decision"] == "edited" for r in want[1])
    for name, parts, more in (("five", 5, {}), ("small", 3, {"memory_records": 16, "memory_bytes": 1 << 16})):
        cut(tmp_path, rows, name, parts, **RULES, **more)
        assert contents(tmp_path / name) == want, name


def test_an_interrupted_stage_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    rows = [*site(9), *site(7, "b.example")]
    m, _ = cut(tmp_path, rows, "whole", 3, **RULES)

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(passages.substring, "repeated", fail)
        with pytest.raises(KeyboardInterrupt):
            cut(tmp_path, rows, "resumed", 3, **RULES)
    again, _ = cut(tmp_path, rows, "resumed", 3, **RULES)
    assert again.content_fingerprint == m.content_fingerprint
    assert again.extra == m.extra


def test_without_a_rule_the_files_are_handed_on(tmp_path):
    m, found = cut(tmp_path, site(4), "out", 2)
    assert len(found) == m.report.kept == 4
    for i in range(2):
        name = f"documents/part-{i:05d}.parquet"
        assert (tmp_path / "out" / name).samefile(tmp_path / "in-2" / name)


def test_empty_corpus(tmp_path):
    m, found = cut(tmp_path, [("s", "a", "")], **RULES)
    assert found == {"a": ""}
    assert isinstance(m, Settings)
    m, found = cut(tmp_path, [], "none", 2, **RULES, fuzzy={}, spans=3)
    assert (m.report.kept, found) == (0, {})
