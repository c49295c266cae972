"""Which items of a benchmark are in the corpus: every place, and what became of the document."""

import io
import json

import pytest
from rich.console import Console

from decontam.stage_run import documents_stage
from fasttrain.audit import table
from fasttrain.audit.benchmark import benchmark
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.decontam import stage as decontam
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.decontam.registry import BenchmarkConfig
from fasttrain.formats import ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.stage import run_stage

ITEM = "Which of the three brothers who crossed the frozen river that night came back with the lantern, and why?"
OTHER = "How many of the seven old bridges over the western canal were built before the great fire took the town?"
LONG = " The road went on and on between the hedges." * 9
TEXTS = [f"a{LONG} {ITEM}{LONG}", f"b{LONG}", f"c{LONG} {ITEM}{LONG}"]


class Nothing(Settings):
    """A stage without settings."""


def build(tmp_path, action):
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"q": q}) + "\n" for q in (ITEM, OTHER)))
    one = BenchmarkConfig(name="Bench", path="b.jsonl", fields={"q": "question"}, version="3")
    config = DecontamConfig(benchmarks=(one,), action=action)
    run = RunFolder(tmp_path / "run")
    run.claim({"name": "small", "seed": 7})
    documents_stage(run.stage("passages"), TEXTS)
    run_stage(
        "decontam", folder=run.stage("decontam"), config=config, inputs=[run.stage("passages")], world=SoloGroup(),
        body=lambda s: decontam.run(s, config, tmp_path),
    )  # fmt: skip

    def split(path, writer):
        for batch in iter_documents(path):
            gone = [o == "o2" for o in batch.column("origin").to_pylist()]
            decision = [ledger.DROPPED if g else ledger.KEPT for g in gone]
            writer.decide("split", batch, decision=decision, reason=["split:empty" if g else "" for g in gone])

    run_stage(
        "split", folder=run.stage("split"), config=Nothing(), inputs=[run.stage("decontam")], world=SoloGroup(),
        body=lambda s: s.map_parts("train", s.input_parts(), split) and None,
    )  # fmt: skip
    return run


@pytest.mark.parametrize(
    ("action", "outcomes"),
    [
        ("drop", ["removed", "removed"]),
        ("cut", ["kept, cut", "removed by split: split:empty"]),
        ("flag", ["kept", "removed by split: split:empty"]),
    ],
)
def test_every_place_and_what_became_of_it(tmp_path, action, outcomes):
    run = build(tmp_path, action)
    answer = benchmark(run, "bench")
    assert [(f.item, f.origin, f.outcome) for f in answer.found] == [
        ("0", origin, outcome) for origin, outcome in zip(("o0", "o2"), outcomes, strict=True)
    ]
    for found, text in zip(answer.found, TEXTS[::2], strict=True):
        assert text[found.begin : found.end] == ITEM.rstrip("?")
    assert {k: answer.figures[k] for k in ("version", "items", "dirty_items", "clean_items", "documents")} == {
        "version": "3", "items": 2, "dirty_items": 1, "clean_items": 1, "documents": 2}  # fmt: skip
    dirty = next(p for p in answer.subsets if p.name == "Bench.dirty.jsonl")
    assert [json.loads(line)["q"] for line in dirty.read_text().splitlines()] == [ITEM]
    less = benchmark(run, "Bench", limit=1)
    assert (less.found, less.more) == (answer.found[:1], 1)


def test_the_table_and_the_refusals(tmp_path):
    run = build(tmp_path, "drop")
    with pytest.raises(ConfigError, match="'MMLU' was not looked for; this run has Bench"):
        benchmark(run, "MMLU")
    empty = RunFolder(tmp_path / "empty")
    empty.claim({"name": "small", "seed": 7})
    with pytest.raises(ConfigError, match="the decontam stage is not finished"):
        benchmark(empty, "Bench")
    screen = Console(width=400, record=True, file=io.StringIO())
    screen.print(table.format_benchmark(benchmark(run, "Bench")))
    said = screen.export_text()
    assert "dirty items" in said
    assert "which of the three brothers" in said
    assert str(run.stage("decontam") / "subsets/Bench.clean.jsonl") in said
