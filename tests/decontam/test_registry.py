"""Benchmark files of every kind give the same items; what is wrong with one is told."""

import csv
import gzip
import io
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from fasttrain.core.errors import ConfigError
from fasttrain.decontam import registry
from fasttrain.decontam.benchmarks import DecontamConfig, fingerprints
from fasttrain.decontam.registry import BenchmarkConfig

ITEMS = [{"id": f"q{i}", "q": f'Why, "{i}",\tand how?\n' + "ä" * i, "a": f"answer {i}"} for i in range(40)]


def one_frame(data):
    return zstandard.compress(data)


def frames(data):
    """Ten frames, one after another, cut anywhere."""
    cuts = [len(data) * k // 10 for k in range(11)]
    return b"".join(zstandard.compress(data[a:b]) for a, b in itertools.pairwise(cuts))


def table(delimiter):
    text = io.StringIO()
    writer = csv.DictWriter(text, ITEMS[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ITEMS)
    return text.getvalue().encode()


def parquet():
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ITEMS), out, row_group_size=7)
    return out.getvalue()


LINES = "".join(json.dumps(item) + "\n" for item in ITEMS).encode()
FILES = {
    "b.jsonl": LINES,
    "b.jsonl.gz": gzip.compress(LINES[:99]) + gzip.compress(LINES[99:]),
    "b.jsonl.zst": one_frame(LINES),
    "frames.jsonl.zst": frames(LINES),
    "b.csv": table(","),
    "b.csv.zst": frames(table(",")),
    "b.tsv": table("\t"),
    "b.parquet": parquet(),
}


def listed(tmp_path, name, data, **settings):
    (tmp_path / name).write_bytes(data)
    settings = {"fields": {"q": "question", "a": "answer"}, "id_field": "id"} | settings
    return registry.find_files((BenchmarkConfig(name="b", path=name, **settings),), None, tmp_path)[0]


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_every_item(tmp_path, name):
    rows = list(registry.rows(listed(tmp_path, name, FILES[name])))
    assert [r.values for r in rows] == ITEMS
    assert [r.name for r in rows] == [item["id"] for item in ITEMS]
    assert [r.texts for r in rows] == [{"q": item["q"], "a": item["a"]} for item in ITEMS]


def test_fields_inside_lists_and_nothing(tmp_path):
    row = {"answers": {"text": ["one", "two"], "start": [1, 2]}, "choices": ["x", "y"], "p": None, "a.b": 3}
    fields = {"answers.text": "answer", "choices": "answer", "p": "passage", "a.b": "question"}
    found = listed(tmp_path, "b.jsonl", json.dumps(row).encode(), fields=fields, id_field=None)
    (got,) = registry.rows(found)
    assert got.texts == {"answers.text": "one\ntwo", "choices": "x\ny", "p": "", "a.b": "3"}
    assert got.name == "0"


@pytest.mark.parametrize(
    ("name", "data", "settings", "words"),
    [
        ("b.jsonl", b"[1]\n", {}, "decontam.benchmarks.0.path: .*line 1 is not a JSON object"),
        ("b.jsonl", b"{bad\n", {}, "line 1 is not a JSON object"),
        (
            "b.jsonl",
            b'{"a": 1, "id": 1}\n',
            {},
            "decontam.benchmarks.0.fields: .*item 0 has no field .q.; it has a",
        ),
        ("b.jsonl", LINES + LINES, {}, "id_field: .*item 40 is named 'q0' as an earlier one is"),
        ("b.jsonl", b"\xff\n", {}, "cannot be read as jsonl"),
        ("b.jsonl.zst", frames(LINES)[:-5], {}, "is not a JSON object|cannot be read"),
        ("b.jsonl.gz", gzip.compress(LINES)[:-9], {}, "cannot be read as jsonl"),
        ("b.parquet", parquet()[:-9], {}, "cannot be read as parquet"),
        ("b.csv", b"id,q,a\n1,2\n", {}, "line 2 must have 3 cells as the first, got 2"),
        ("b.csv", b'id,q,a\n1,2,"3\n', {}, "cannot be read as csv"),
        ("b.txt", LINES, {}, "format: .*its ending must be one of .jsonl, .ndjson, .csv, .tsv, .parquet"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, name, data, settings, words):
    with pytest.raises(ConfigError, match=words):
        list(registry.rows(listed(tmp_path, name, data, **settings)))


def test_a_format_may_be_given(tmp_path):
    assert len(list(registry.rows(listed(tmp_path, "b.txt", LINES, format="jsonl")))) == 40


def test_another_edition_is_refused(tmp_path):
    found = listed(tmp_path, "b.jsonl", LINES)
    assert listed(tmp_path, "b.jsonl", LINES, sha256=found.sha256) == registry.Listed(
        found.config.model_copy(update={"sha256": found.sha256}), found.file, found.where, found.sha256
    )
    with pytest.raises(ConfigError, match="decontam.benchmarks.0.sha256: .*another edition"):
        listed(tmp_path, "b.jsonl", LINES + b"\n", sha256=found.sha256)
    with pytest.raises(ConfigError, match="decontam.benchmarks.0.path: b: no such file"):
        registry.find_files((BenchmarkConfig(name="b", path="gone.jsonl", fields={"q": "question"}),), None, tmp_path)


def test_recipes_share_a_registry(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/one.jsonl").write_bytes(LINES)
    text = '[[benchmarks]]\nname = "One"\nversion = "2"\npath = "one.jsonl"\nfields = { q = "question" }\n'
    (tmp_path / "shared/all.toml").write_text(text)
    config = DecontamConfig(registry="shared/all.toml")
    assert [name for name, *_ in fingerprints(config, tmp_path)] == ["HumanEval", "One"]
    (tmp_path / "shared/all.toml").write_text(text.replace('"2"', '"3"'))
    assert fingerprints(config, tmp_path)[1] != fingerprints(DecontamConfig(registry="shared/all.toml"), tmp_path)[0]
    for wrong, words in (
        (text.replace("One", "humaneval"), "must have different names"),
        (text.replace("question", "query"), "benchmarks.0.fields.q"),
        ("[[", "not valid TOML"),
    ):
        (tmp_path / "shared/all.toml").write_text(wrong)
        with pytest.raises(ConfigError, match=words):
            fingerprints(config, tmp_path)
    with pytest.raises(ConfigError, match="decontam.registry: .* must be a readable TOML file"):
        fingerprints(DecontamConfig(registry="gone.toml"), tmp_path)
