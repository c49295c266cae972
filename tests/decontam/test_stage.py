"""Recall of the stage by the form in which an item was leaked, and what must not be flagged."""

import hashlib
import json
import random
import textwrap
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comm.thread_ranks import on_ranks
from decontam.stage_run import documents_of, documents_stage, run, spans_of
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.decontam import stage as decontam
from fasttrain.decontam.benchmarks import BenchmarkConfig, DecontamConfig, load
from fasttrain.decontam.find import find
from fasttrain.decontam.ngram_overlap import ngram_overlap
from fasttrain.decontam.registry import rows as rows_of
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
    fields = {"question": "question", "answer": "answer"}
    bench = BenchmarkConfig(name="bench", path="bench.jsonl", fields=fields, id_field="id", version="1")
    return DecontamConfig(benchmarks=(bench,))


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
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields={"q": "question"}),))
    own = rows[3]["q"][len(TEMPLATE) :]
    done, found = run(tmp_path, config, [f"{TEMPLATE} {sentence(50)}", series + " 60 61", own])
    assert [r["decision"] for r in found] == ["kept", "kept", "dropped"]
    assert done.extra["benchmarks"]["b"]["template_ngrams"] == 20 - 8 + 1


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
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields={"q": "question"}),))
    _, rows = run(tmp_path, config, [f"{sentence(20)} {item} {sentence(20)}", sentence(50)])
    assert [r["decision"] for r in rows] == ["dropped" if is_found else "kept", "kept"]


def test_boilerplate_of_the_corpus_does_not_count(tmp_path, config):
    """A famous passage that an item quotes and 60 documents hold is no leak; one document with the rest of it is."""
    question = ITEMS[0]["question"].split()
    quoted = " ".join(question[:20])
    texts = [f"{sentence(50)} {quoted} {sentence(50)}" for _ in range(60)] + [ITEMS[0]["question"]]
    done, rows = run(tmp_path, config.model_copy(update={"max_documents": 50}), texts)
    assert [r["origin"] for r in rows if r["decision"] == "dropped"] == ["o60"]
    assert done.extra["benchmarks"]["bench"]["boilerplate_ngrams"] == 20 - 8 + 1


def test_a_short_item_is_found_whole_or_not_at_all(tmp_path):
    item = sentence(10)
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": item}) + "\n" + json.dumps({"q": "only four words here"}) + "\n")
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields={"q": "question"}),))
    half = " ".join(item.split()[:9])
    done, rows = run(tmp_path, config, [f"{sentence(9)} {item} {sentence(9)}", half, "only four words here"])
    assert [r["decision"] for r in rows] == ["dropped", "kept", "kept"]
    assert done.extra["benchmarks"]["b"]["too_short_fields"] == 1
    assert done.extra["benchmarks"]["b"]["unsearched_items"] == 1


def test_flag_keeps_the_document_and_says_so(tmp_path, config):
    done, rows = run(tmp_path, config.model_copy(update={"action": "flag"}), [ITEMS[0]["question"], "clean"])
    assert [(r["decision"], r["reason"]) for r in rows] == [("tagged", "benchmark:bench"), ("kept", "")]
    assert done.report.kept == 2
    assert done.extra["benchmarks"]["bench"]["documents"] == 1
    assert [d["meta"] for d in documents_of(tmp_path, done)] == ['{"contamination": ["bench/q0"]}', "{}"]
    assert [s["decision"] for s in spans_of(tmp_path, done)] == ["flagged"]


def test_cut_takes_the_span_alone_and_its_bytes_map_back(tmp_path, config):
    before, after = "Ein Ärger: " + sentence(60) + " (", ") – и всё 🎈 " + sentence(60)
    text = before + ITEMS[0]["question"].upper() + after
    short = "A: " + ITEMS[1]["question"]
    twice = f"{before}{ITEMS[2]['question']}{after}\n{ITEMS[3]['question']}\n{before}"
    cut = config.model_copy(update={"action": "cut"})
    done, rows = run(tmp_path, cut, [text, short, twice, sentence(30)])
    assert [r["decision"] for r in rows] == ["edited", "dropped", "edited", "kept"]
    bare = [ITEMS[i]["question"].rstrip("?") for i in range(4)]
    assert [d["text"] for d in documents_of(tmp_path, done)][:2] == [
        text.replace(bare[0].upper(), ""), twice.replace(bare[2], "").replace(bare[3], "")]  # fmt: skip
    for span, source, item in zip(spans_of(tmp_path, done), [text, short, twice, twice], bare):
        assert source.encode()[span["begin"] : span["end"]].decode().casefold() == item.casefold()
        assert (span["span"], span["words"], span["score"]) == (item.casefold(), 40, 1.0)
    assert [s["decision"] for s in spans_of(tmp_path, done)] == ["cut", "dropped", "cut", "cut"]
    assert len(json.loads(rows[2]["evidence"])["spans"]) == 2


def test_clean_and_dirty_rows_are_written_as_they_were(tmp_path, config):
    done, _ = run(tmp_path, config, [ITEMS[4]["question"], leak("wrapped", ITEMS[7]["question"])])
    subsets = {f.path: f.rows for f in done.files if f.path.startswith("subsets/")}
    assert subsets == {f"subsets/bench.{s}.jsonl": n for s, n in (("clean", 28), ("dirty", 2), ("unsearched", 0))}
    read = {s: [json.loads(line) for line in (tmp_path / "out" / s).read_text().splitlines()] for s in subsets}
    assert read["subsets/bench.dirty.jsonl"] == [ITEMS[4], ITEMS[7]]
    assert read["subsets/bench.clean.jsonl"] == [item for item in ITEMS if item not in (ITEMS[4], ITEMS[7])]
    report = done.extra["benchmarks"]["bench"]
    assert (report["version"], report["sha256"]) == (
        "1",
        hashlib.sha256((tmp_path / "bench.jsonl").read_bytes()).hexdigest(),
    )


def test_gaps_cost_their_own_words_alone(tmp_path, config):
    """Every tenth word another one, and a remark of 20 words within: what is left in eights is found."""
    words = ITEMS[0]["question"].split()
    changed = [w if k % 10 != 9 else "another" for k, w in enumerate(words)]
    text = " ".join([*changed[:20], sentence(20), *changed[20:]])
    far = " ".join([*words[:12], sentence(200), *words[28:]])  # two parts of 12 words, each too little
    _, rows = run(tmp_path, config, [text, far])
    assert [r["decision"] for r in rows] == ["dropped", "kept"]
    assert json.loads(rows[0]["evidence"])["words"] == 36


def test_a_passage_counts_with_its_question_alone(tmp_path):
    passage, question = sentence(80), sentence(20)
    (tmp_path / "b.jsonl").write_text(json.dumps({"p": passage, "q": question}) + "\n")
    fields = {"p": "passage", "q": "question"}
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=fields),))
    texts = [passage, f"{passage}\n{question}", sentence(30)]
    done, rows = run(tmp_path, config, texts)
    assert [r["decision"] for r in rows] == ["kept", "dropped", "kept"]
    assert [(s["role"], s["decision"]) for s in spans_of(tmp_path, done)] == [
        ("passage", "kept"), ("passage", "dropped"), ("question", "dropped")]  # fmt: skip
    assert done.extra["benchmarks"]["b"]["passages_alone"] == 1
    _, rows = run(tmp_path, config.model_copy(update={"passage_alone": True}), texts, name="alone")
    assert [r["decision"] for r in rows] == ["dropped", "dropped", "kept"]


def test_a_short_question_is_looked_for_with_its_answer(tmp_path):
    (tmp_path / "b.jsonl").write_text(
        json.dumps({"q": "Who wrote this?", "a": "Somebody whom nobody knew then"}) + "\n"
    )
    fields = {"q": "question", "a": "answer"}
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields=fields),))
    texts = ["So: who wrote THIS? - Somebody, whom nobody knew then.", "Who wrote this? Somebody whom we knew then."]
    done, rows = run(tmp_path, config, texts)
    assert [r["decision"] for r in rows] == ["dropped", "kept"]
    assert spans_of(tmp_path, done)[0]["field"] == "q+a"


def test_a_definition_that_an_item_quotes_is_no_leak(tmp_path):
    """The first words of an encyclopedia's article on primes, 17 of the 166 words of HumanEval/78."""
    text = (
        "A prime number (or a prime) is a natural number greater than 1 that is not a product of two smaller natural "
        "numbers. A natural number greater than 1 that is not prime is called a composite number."
    )
    _, rows = run(tmp_path, DecontamConfig(), [text, sentence(50)])
    assert [r["decision"] for r in rows] == ["kept", "kept"]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_left_to_find_after_a_cut(tmp_path, config, form):
    texts = [f"{sentence(100)} {leak(form, item['question'])} {sentence(100)}" for item in ITEMS[:6]]
    cut = config.model_copy(update={"action": "cut"})
    done, rows = run(tmp_path, cut, texts)
    assert {r["decision"] for r in rows} == {"edited"}
    elsewhere = cut.benchmarks[0].model_copy(update={"path": str(tmp_path / "bench.jsonl")})
    again, rows = run(
        tmp_path / "again",
        cut.model_copy(update={"benchmarks": (elsewhere,)}),
        [d["text"] for d in documents_of(tmp_path, done)],
    )
    assert {r["decision"] for r in rows} == {"kept"}
    assert again.extra["benchmarks"]["bench"]["dirty_items"] == 0


def test_a_leak_copied_often_is_found_and_a_short_phrase_is_not(tmp_path):
    """Ten documents hold an item of 40 words, and ten an item of 9: an n-gram in ten documents weighs 0.41."""
    long, short = sentence(40), sentence(9)
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"q": q}) + "\n" for q in (long, short)))
    config = DecontamConfig(benchmarks=(BenchmarkConfig(name="b", path="b.jsonl", fields={"q": "question"}),))
    texts = [f"{sentence(20)} {item} {sentence(20)}" for item in (long, short) for _ in range(10)]
    _, rows = run(tmp_path, config, texts)
    assert [r["decision"] for r in rows] == ["dropped"] * 10 + ["kept"] * 10


@pytest.mark.parametrize("action", ["drop", "cut", "flag"])
def test_parts_do_not_matter(tmp_path, config, action):
    """The same documents in two parts and in one: the same decisions, evidence and bytes."""
    texts = [leak(form, item["question"]) for form in FORMS for item in ITEMS[:3]] + [sentence(50)]
    config = config.model_copy(update={"action": action})
    _, two = run(tmp_path, config, texts)
    documents_stage(tmp_path / "whole", texts, parts=1)
    run_stage(
        "decontam", folder=tmp_path / "one", config=config, inputs=[tmp_path / "whole"], world=SoloGroup(),
        body=lambda s: decontam.run(s, config, tmp_path),
    )  # fmt: skip
    for kind in (".parquet", ".ledger.parquet", ".spans.parquet"):
        want = pa.concat_tables(pq.read_table(tmp_path / f"out/documents/part-0000{k}{kind}") for k in (0, 1))
        assert pq.read_table(tmp_path / f"one/documents/part-00000{kind}").equals(want), kind
    assert two


def test_ranks_and_threads_do_not_matter(tmp_path, config, monkeypatch):
    """Three ranks that claim parts as they come write what one writes, byte for byte."""
    texts = [leak(form, item["question"]) for form in FORMS for item in ITEMS[:3]] + [sentence(50)]
    documents_stage(tmp_path / "before", texts, parts=5)
    done = []
    for ranks, threads in ((1, 1), (3, 2)):
        monkeypatch.setattr(decontam, "ngram_overlap", partial(ngram_overlap, threads=threads))
        work = lambda world: run_stage(  # noqa: E731
            "decontam", folder=tmp_path / f"ranks{world.size}", config=config, inputs=[tmp_path / "before"],
            world=world, body=lambda s: decontam.run(s, config, tmp_path),
        )  # fmt: skip
        manifests = on_ranks(ranks, work) if ranks > 1 else [work(SoloGroup())]
        assert {m.extra["benchmarks"]["bench"]["dirty_items"] for m in manifests} == {3}
        done.append(manifests[0])
    assert done[0].files == done[1].files  # names, rows, sha256
    assert done[0].extra == done[1].extra


def test_a_hash_that_matches_proves_nothing(config, tmp_path):
    """Every n-gram of every text made to collide: only equal words are believed."""
    benchmarks = load(config, tmp_path)
    column = columns.from_texts([ITEMS[0]["question"]])
    hits = ngram_overlap(column, benchmarks.index)
    rows = np.zeros(len(hits.words), np.int64)
    assert find(column, rows, hits.words, hits.grams, benchmarks, benchmarks.weights, config)
    other = next(f for f in benchmarks.fields if f.item == "q1").grams[: len(hits.words)]
    assert find(column, rows, hits.words, other, benchmarks, benchmarks.weights, config) == []


def test_humaneval_ships_and_finds_itself(tmp_path):
    config = DecontamConfig()
    benchmarks = load(config, tmp_path)
    assert benchmarks.items == {"HumanEval": 164}
    fields = benchmarks.fields
    texts = {row.number: row.texts for row in rows_of(benchmarks.listed[0])}
    column = columns.from_texts(texts[f.row][f.name] for f in fields)
    hits = ngram_overlap(column, benchmarks.index)
    rows = np.repeat(np.arange(len(column)), np.diff(hits.starts))
    found = find(column, rows, hits.words, hits.grams, benchmarks, benchmarks.weights, config)
    itself = {m.row for m in found if fields[m.row].row == fields[m.field].row}
    assert {fields[row].item for row in itself} == {f"HumanEval/{k}" for k in range(164)}, "by one field at least"
    assert len(itself) >= 0.9 * len(fields)


def test_settings_refuse():
    with pytest.raises(ConfigError, match="decontam: ngram must be at most min_words = 5"):
        DecontamConfig.load({"ngram": 8, "min_words": 5}, where="decontam")
    bench = {"name": "b", "path": "b.jsonl", "fields": {"q": "question"}}
    with pytest.raises(ConfigError, match="benchmarks must have different names"):
        DecontamConfig.load({"benchmarks": [bench, bench]}, where="decontam")
