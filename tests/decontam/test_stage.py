"""Recall of the stage by the form in which an item was leaked, and what must not be flagged."""

import json
import random
import textwrap

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.decontam import stage as decontam
from fasttrain.decontam.benchmarks import BenchmarkConfig, DecontamConfig, load
from fasttrain.decontam.find import find
from fasttrain.formats import document
from fasttrain.formats.stage import run_stage
from fasttrain.text import columns

DRAWS = random.Random(20261123)
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgklmnprst"]


def sentence(n):
    return " ".join(DRAWS.choice(VOCABULARY) for _ in range(n))


ITEMS = [{"id": f"q{i}", "question": sentence(40).capitalize() + "?", "answer": "42"} for i in range(30)]
TEMPLATE = sentence(20)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(i) + "\n" for i in ITEMS))
    bench = BenchmarkConfig(name="bench", path="bench.jsonl", fields=("question", "answer"), id_field="id")
    return DecontamConfig(benchmarks=(bench,))


class Nothing(Settings):
    """A stage without settings."""


def documents_stage(folder, texts):
    n = len(texts)
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([i.to_bytes(16, "little") for i in range(n)], pa.binary(16)),
            pa.array([i.to_bytes(16, "little") for i in range(n)], pa.binary(16)),
            pa.array(texts, pa.large_string()),
            pa.array(["s"] * n),
            pa.array([f"o{i}" for i in range(n)]),
            pa.array(["MIT"] * n),
            pa.array([""] * n),
            pa.array([None] * n, document.SCHEMA.field("timestamp").type),
            pa.array(["{}"] * n),
        ],
        schema=document.SCHEMA,
    )
    halves = [batch.slice(0, n // 2), batch.slice(n // 2)]
    run_stage(
        "before", folder=folder, config=Nothing(), inputs=[], world=SoloGroup(),
        body=lambda s: s.map_parts("documents", [0, 1], lambda k, w: w.write(halves[k])) and None,
    )  # fmt: skip


def run(tmp_path, config, texts, name="out"):
    documents_stage(tmp_path / "before", texts)
    done = run_stage(
        "decontam", folder=tmp_path / name, config=config, inputs=[tmp_path / "before"], world=SoloGroup(),
        body=lambda s: decontam.run(s, config, tmp_path),
    )  # fmt: skip
    rows = [
        r
        for f in done.files
        if f.path.endswith("ledger.parquet")
        for r in pq.read_table(tmp_path / name / f.path).to_pylist()
    ]
    return done, rows


def leak(form, question):
    before, after = sentence(300), sentence(300)
    return {
        "verbatim": question,
        "paragraph": f"{before}\n\n{question}\n\n{after}",
        "embedded": f"{before} {question} {after}",
        "wrapped": f"{before}\n" + textwrap.fill(question, 24) + f"\n{after}",
        "case and punctuation": f"{before} " + question.upper().replace(" ", " -- ") + f" {after}",
        "unicode": f"{before} " + question.replace("a", "a\u0301").replace(" ", "\u00a0") + f" {after}",
        "half of it": f"{before} " + " ".join(question.split()[:20]) + f" {after}",
    }[form]


FORMS = ["verbatim", "paragraph", "embedded", "wrapped", "case and punctuation", "unicode", "half of it"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_leak_is_found(tmp_path, config, form):
    leaked = ITEMS[::3]
    texts = [leak(form, item["question"]) for item in leaked] + [sentence(400) for _ in range(20)]
    done, rows = run(tmp_path, config, texts)
    dropped = {r["origin"]: r for r in rows if r["decision"] == "dropped"}
    assert sorted(dropped) == sorted(f"o{i}" for i in range(len(leaked)))
    for i, item in enumerate(leaked):
        row = dropped[f"o{i}"]
        assert row["reason"] == "benchmark:bench"
        found = json.loads(row["evidence"])
        assert (found["item"], found["field"]) == (item["id"], "question")
        assert len(found["span"].split()) >= 13
    assert done.extra["benchmarks"]["bench"]["dirty_items"] == len(leaked)
    assert done.extra["benchmarks"]["bench"]["clean_items"] == len(ITEMS) - len(leaked)
    assert done.report.kept == 20


def test_what_must_not_be_flagged(tmp_path, config):
    near = " ".join(ITEMS[0]["question"].split()[:12])  # one word too few
    shuffled = ITEMS[1]["question"].split()
    DRAWS.shuffle(shuffled)
    numbers = " ".join(str(k) for k in range(1, 200))
    done, rows = run(tmp_path, config, [near, " ".join(shuffled), numbers, "The answer is 42.", ""])
    assert {r["decision"] for r in rows} == {"kept"}
    assert done.report.kept == 5


def test_templates_and_number_series_of_the_benchmark_are_left_out(tmp_path):
    """Arithmetic series and a header that every item shares flag nothing; the items' own words still do."""
    series = " ".join(str(k) for k in range(1, 60))
    rows = [{"q": f"{TEMPLATE} {sentence(30)}"} for _ in range(20)] + [{"q": series}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=("q",)),))
    own = rows[3]["q"][len(TEMPLATE) :]
    done, found = run(tmp_path, config, [f"{TEMPLATE} {sentence(50)}", series + " 60 61", own])
    assert [r["decision"] for r in found] == ["kept", "kept", "dropped"]
    assert done.extra["benchmarks"]["b"]["template_ngrams"] == 8


@pytest.mark.parametrize(
    ("item", "is_found"),
    [
        ("max([1, 2, 3, 2, 3, 4, 2, 5, 6, 7, 8, 9, 10])", False),  # max and twelve numbers
        ("0 1 2 3 4 5 6 7 8 9 A B C D E F", False),  # hexadecimal digits: six letters in thirteen words
        ("the the the the the the the the the the the the the the", False),  # one word
        ("is a natural number greater than 1 that is not a product of two smaller ones", True),
    ],
)
def test_an_ngram_must_say_something(tmp_path, item, is_found):
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": item}) + "\n")
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=("q",)),))
    _, rows = run(tmp_path, config, [f"{sentence(20)} {item} {sentence(20)}", sentence(50)])
    assert [r["decision"] for r in rows] == ["dropped" if is_found else "kept", "kept"]


def test_boilerplate_of_the_corpus_does_not_count(tmp_path, config):
    """A famous passage that an item quotes and 60 documents hold is no leak; one document with the rest of it is."""
    question = ITEMS[0]["question"].split()
    quoted = " ".join(question[:20])
    texts = [f"{sentence(50)} {quoted} {sentence(50)}" for _ in range(60)] + [ITEMS[0]["question"]]
    done, rows = run(tmp_path, config.model_copy(update={"max_documents": 50}), texts)
    assert [r["origin"] for r in rows if r["decision"] == "dropped"] == ["o60"]
    assert done.extra["benchmarks"]["bench"]["boilerplate_ngrams"] == 8


def test_a_short_item_is_found_whole_or_not_at_all(tmp_path):
    item = sentence(10)
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": item}) + "\n" + json.dumps({"q": "only four words here"}) + "\n")
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=("q",)),))
    half = " ".join(item.split()[:9])
    done, rows = run(tmp_path, config, [f"{sentence(9)} {item} {sentence(9)}", half, "only four words here"])
    assert [r["decision"] for r in rows] == ["dropped", "kept", "kept"]
    assert done.extra["benchmarks"]["b"]["too_short_fields"] == 1


def test_flag_keeps_the_document_and_says_so(tmp_path, config):
    done, rows = run(tmp_path, config.model_copy(update={"action": "flag"}), [ITEMS[0]["question"], "clean"])
    assert [(r["decision"], r["reason"]) for r in rows] == [("kept", "benchmark:bench"), ("kept", "")]
    assert done.report.kept == 2
    assert done.extra["benchmarks"]["bench"]["documents"] == 1


def test_a_hash_that_matches_proves_nothing(config, tmp_path, monkeypatch):
    """Every n-gram of every text made to collide: only equal words are believed."""
    benchmarks = load(config, tmp_path)
    from fasttrain.decontam import find as module

    real = module.ngram_overlap

    def colliding(column, index, *, threads=None):
        hits = real(column, index, threads=threads)
        wrong = (hits.grams + 1) % len(index.keys)
        return type(hits)(hits.starts, hits.words, wrong)

    monkeypatch.setattr(module, "ngram_overlap", colliding)
    assert find(columns.from_texts([ITEMS[0]["question"]]), benchmarks) == {}


def test_humaneval_ships_and_finds_itself(tmp_path):
    config = DecontamConfig()
    benchmarks = load(config, tmp_path)
    assert len({i.key for i in benchmarks.items}) == 164
    fields = benchmarks.items
    found = find(columns.from_texts([" ".join(i.words) for i in fields]), benchmarks)
    assert {fields[row].name for row in found} == {i.name for i in benchmarks.items}, "every item by one field at least"
    assert len(fields) - len(found) == benchmarks.silent["HumanEval"] <= 0.05 * len(fields)


@pytest.mark.parametrize(
    ("content", "fields", "words"),
    [
        (None, ("q",), r"decontam.benchmarks.0.path: b: no such file"),
        ("[1]\n", ("q",), "line 1 is not a JSON object"),
        ("{bad\n", ("q",), "line 1 is not a JSON object"),
        ('{"a": 1}\n', ("q",), "decontam.benchmarks.0.fields: .*line 1 has no field 'q'; it has a"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_refused(tmp_path, content, fields, words):
    if content is not None:
        (tmp_path / "b.jsonl").write_text(content)
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=fields),))
    with pytest.raises(ConfigError, match=words):
        load(config, tmp_path)


def test_settings_refuse():
    with pytest.raises(ConfigError, match="decontam: short_ngram must be at most ngram = 5"):
        DecontamConfig.load({"ngram": 5, "short_ngram": 8}, where="decontam")
    bench = {"name": "b", "path": "b.jsonl", "fields": ["q"]}
    with pytest.raises(ConfigError, match="benchmarks must have different names"):
        DecontamConfig.load({"benchmarks": [bench, bench]}, where="decontam")
