"""Workload: 2,000 documents of about 2.7 KB of Zipf-distributed words, word 5-grams. Rival: the usual Python line
(lower, re.findall of word characters, hash of each joined 5-gram)."""

import random
import re

import numpy as np

from fasttrain.text import columns
from fasttrain.text.shingle import shingle

OP = "shingle"
R = random.Random(20261123)
WORDS = ["".join(R.choices("etaoinshrdlucmfwypvbgk", k=R.choice((2, 3, 4, 5, 6, 7, 9, 11)))) for _ in range(50_000)]
PICKS = np.minimum(np.random.default_rng(20261123).zipf(1.3, 2000 * 450) - 1, len(WORDS) - 1)
TEXTS = [" ".join(WORDS[i] for i in PICKS[d * 450 : (d + 1) * 450]) + ", 2026." for d in range(2000)]
COLUMN = columns.from_texts(TEXTS)


def bench_shingle(benchmark, record, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 41 if impl == "reference" else None])
    benchmark(shingle, column, threads=1, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


def python_shingles():
    count = 0
    for text in TEXTS[:200]:
        words = re.findall(r"\w+", text.lower())
        count += len([hash(" ".join(words[i : i + 5])) for i in range(len(words) - 4)])
    return count


def bench_rival_python(benchmark, record):
    count = benchmark(python_shingles)
    assert count == len(shingle(columns.from_texts(TEXTS[:200]))[0])
    record("MB_per_s", sum(map(len, TEXTS[:200])) / 1e6)
