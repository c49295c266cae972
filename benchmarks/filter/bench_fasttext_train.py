"""Workload: one epoch over the demo lake's declarations cut into 300-character texts, two classes, dim 100, word pairs.

One thread. Rival: the definition in NumPy, on a tenth of the texts.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fasttrain.filter import fasttext_train, language
from fasttrain.filter.fasttext_train import TrainConfig
from fasttrain.text import columns

OP = "fasttext_train"
DEMO = Path(language.__file__).parents[1] / "data/demo_lake/declarations.jsonl.zst"


@pytest.fixture(scope="module")
def examples():
    with zstandard.open(DEMO, "rb") as raw:
        texts = [json.loads(line)["text"] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    pieces = [(text[at : at + 300], k % 2) for k, text in enumerate(texts) for at in range(0, 4200, 300) if text[at:]]
    return columns.from_texts([p for p, _ in pieces]), np.array([k for _, k in pieces], np.int32)


def bench_train(benchmark, record, examples, tmp_path):
    texts, labels = examples
    config = TrainConfig(epochs=1, bucket=20_000)
    names = ("__label__a", "__label__b")
    benchmark(fasttext_train.train, texts, labels, names, config, tmp_path / "m.bin", threads=1)
    record("MB_of_text_per_s", texts.num_bytes / 1e6)


def bench_steps(benchmark, record, impl):
    rng = np.random.default_rng(3)
    N = 200 if impl == "reference" else 2000
    offsets = np.arange(0, 200 * (N + 1), 200, dtype=np.int64)
    rows = rng.integers(0, 100_000, offsets[-1]).astype(np.int32)
    inp, output = rng.normal(0, 0.01, (100_000, 100)).astype(np.float32), np.zeros((2, 100), np.float32)
    labels, order = rng.integers(0, 2, N).astype(np.int32), np.arange(N)
    rates = np.full(N, 0.1, np.float32)
    benchmark(fasttext_train.steps, inp, output, rows, offsets, labels, order, rates, impl)
    record("features_per_s", len(rows))
