"""Decisions, evidence and meta by the column, on opinions made by hand."""

import json

import numpy as np
import pyarrow as pa
import pytest

from fasttrain.core.errors import FormatError
from fasttrain.filter.docket import Docket, merged_meta
from fasttrain.filter.family import Documents, Opinion, named, note_number, note_numbers, note_object, note_rows
from fasttrain.filter.text_stats import NAMES
from fasttrain.formats.part import PartWriter
from fasttrain.text import columns
from filter.stages import documents

ALL = np.ones(3, np.bool_)


def batch():
    return documents([("one", "web", "a", ""), ("two", "web", "b", ""), ("three", "web", "c", "")])


def seen(of):
    stats = np.zeros((len(of), len(NAMES)), np.int64)
    edited = columns.from_arrow(of.column("text"))
    return Documents(of, of.column("text"), ["", "", ""], stats, np.zeros(3, np.uint8), edited, ALL.copy(), 1)


def ledger_rows(docket, of, folder):
    with PartWriter(folder, "documents", 0) as writer:
        docket.decide("filter", of, writer)
        report = writer.close()
    return pa.parquet.read_table(folder / "documents/part-00000.ledger.parquet").to_pylist(), report.report


def test_the_first_family_that_drops_gives_the_reason(tmp_path):
    of, docket = batch(), Docket(3)
    view = seen(of)
    tag = named(("a:x", "a:y"), np.array([2, 1, 0]), np.array([0.25, 7.0, 0.0]))
    docket.record(Opinion(tag, mode="tag", evidence={"why": note_rows(3, {1: ["é"], 2: "nobody asks"})}), view, ALL)
    docket.record(
        Opinion(named(("b:z",), np.array([1, 0, 1]), np.array([3.0, 4, 5]))), view, np.array([True, 1, 0]) > 0
    )
    assert view.standing.tolist() == [False, True, True]
    rows, report = ledger_rows(docket, of, tmp_path)
    assert [(r["decision"], r["reason"], r["score"]) for r in rows] == [
        ("dropped", "b:z", 3.0), ("tagged", "a:x", 7.0), ("kept", "", None),
    ]  # fmt: skip
    assert [r["evidence"] for r in rows] == [
        '{"broken": ["a:y", "b:z"]}', '{"broken": ["a:x"], "scores": {"a:x": 7}, "why": ["é"]}', "{}",
    ]  # fmt: skip
    assert report.counts == {"broken:a:y": 1, "broken:b:z": 1, "tagged:a:x": 1}
    assert (report.kept, report.dropped) == (2, {"b:z": 1})


def test_edits_of_two_families(tmp_path):
    of, docket = batch(), Docket(3)
    view = seen(of)
    lines = Opinion(
        texts=pa.array(["1", "two", "3"], pa.large_string()), edit="c4:lines",
        edit_evidence={"lines_removed": note_number(np.array([2, 9, 0]))},
    )  # fmt: skip
    masked = np.array([0, 1, 1])
    pii = Opinion(
        texts=pa.array(["1", "2", "33"], pa.large_string()), edit="pii:masked",
        edit_evidence={"masked": note_numbers({"email": masked, "ip": 2 * masked})}, counts={"masked:email": masked},
        meta={"pii": note_rows(3, {2: True})}, told=np.array([True, False, False]), languages=["en", "fr", "de"],
    )  # fmt: skip
    docket.record(lines, view, ALL)
    docket.record(pii, view, np.array([False, True, True]))
    rows, report = ledger_rows(docket, of, tmp_path)
    assert [(r["decision"], r["reason"]) for r in rows] == [
        ("edited", "c4:lines"), ("edited", "pii:masked"), ("edited", "c4:lines+pii:masked"),
    ]  # fmt: skip
    assert [json.loads(r["evidence"]) for r in rows] == [
        {"lines_removed": 2}, {"masked": {"email": 1, "ip": 2}}, {"masked": {"email": 1, "ip": 2}},
    ]  # fmt: skip
    assert view.languages == ["", "fr", "de"]
    assert docket.meta(of).to_pylist() == ["{}", "{}", '{"pii": true}']
    assert report.counts == {"edited:c4:lines": 2, "edited:pii:masked": 2, "masked:email": 2}


def test_a_family_may_tag_without_a_rule(tmp_path):
    of, docket = batch(), Docket(3)
    flags = Opinion(told=np.array([False, True, False]), evidence={"mixed": note_rows(3, {1: {"en": 0.5}})})
    docket.record(flags, seen(of), ALL)
    rows, _ = ledger_rows(docket, of, tmp_path)
    assert [(r["decision"], r["evidence"]) for r in rows] == [
        ("kept", "{}"), ("tagged", '{"mixed": {"en": 0.5}}'), ("kept", "{}"),
    ]  # fmt: skip


def test_an_empty_batch(tmp_path):
    of, docket = batch().slice(0, 0), Docket(0)
    rows, report = ledger_rows(docket, of, tmp_path)
    assert (rows, report.kept) == ([], 0)
    assert docket.meta(of).to_pylist() == []


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ("{}", '{"a:b": 1}', {"scores": {"a:b": 1}}),
        ('{"é": "}"}', '{"a:b": 1}', {"é": "}", "scores": {"a:b": 1}}),
        ('{"scores": {"x:y": 2, "a:b": 3}}', '{"a:b": 1}', {"scores": {"x:y": 2, "a:b": 1}}),
        ('{"scores": 3}', '{"a:b": 1}', {"scores": {"a:b": 1}}),
        ('{"k": {"scores": 3}} ', '{"a:b": 1}', {"k": {"scores": 3}, "scores": {"a:b": 1}}),
        ('{"k": 1}', None, {"k": 1}),
    ],
)
def test_meta_is_merged(old, new, merged):
    result = merged_meta(pa.array([old, "{}"]), {"scores": pa.array([new, None], pa.string())})
    assert [json.loads(m) for m in result.to_pylist()] == [merged, {}]
    if new is None:
        assert result[0].as_py() == old


@pytest.mark.parametrize("old", ["", "[1]", "{]"])
def test_meta_that_is_no_object_is_refused(old):
    notes = {"scores": pa.array(["1"])}
    if old == "{]":
        notes = {"scores": pa.array(["1"]), "]": pa.array(["2"])}
    with pytest.raises(FormatError, match="filter: meta must be a JSON object, got"):
        merged_meta(pa.array([old]), notes)


def test_notes_are_json():
    n = 4
    notes = {
        'b"': note_number(np.array([0, 5, 0, 7])),
        "a": note_rows(n, {2: {"z": 1, "k": None}, 3: "ü"}),
        "c": note_numbers({"p": np.array([0, 0, 1, 2]), "o": np.array([0, 0, 0, 3])}),
    }
    found = note_object(notes).to_pylist()
    wanted = [None, {'b"': 5}, {"a": {"k": None, "z": 1}, "c": {"p": 1}}, {"a": "ü", 'b"': 7, "c": {"o": 3, "p": 2}}]
    assert found == [None if w is None else json.dumps(w, ensure_ascii=False, sort_keys=True) for w in wanted]
    with pytest.raises(ValueError, match="note_object: at least one key"):
        note_object({})
