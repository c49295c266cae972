"""Which items of a benchmark are in the corpus: every place, and what became of the document."""

import io
import json

import pytest
from rich.console import Console

from audit.benchmark_run import ITEM, TEXTS, build
from fasttrain.audit import table
from fasttrain.audit.benchmark import benchmark
from fasttrain.core.errors import ConfigError
from fasttrain.formats.run_folder import RunFolder


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
