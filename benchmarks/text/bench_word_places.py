"""Workload: that of bench_shingle. Rival: the usual Python line (re.finditer over word characters), in code points."""

import re

from text.bench_shingle import COLUMN, TEXTS

from fasttrain.text import columns
from fasttrain.text.word_places import word_places

OP = "word_places"


def bench_word_places(benchmark, record, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 41 if impl == "reference" else None])
    benchmark(word_places, column, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


def python_places():
    return [m.span() for text in TEXTS[:200] for m in re.finditer(r"\w+", text)]


def bench_rival_python(benchmark, record):
    spans = benchmark(python_places)
    places, _ = word_places(columns.from_texts(TEXTS[:200]))
    assert len(spans) == len(places)
    record("MB_per_s", sum(map(len, TEXTS[:200])) / 1e6)
