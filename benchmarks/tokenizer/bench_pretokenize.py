"""Workload: 4 MB of Python sources cut by cl100k's pattern, one thread. Rival: the `regex` module's findall."""

import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import patterns
from fasttrain.tokenizer.pretokenize import pretokenize

OP = "pretokenize"


def bench_pretokenize(benchmark, documents, speed, impl):
    texts = documents(100_000 if impl == "reference" else 4_000_000)
    column = columns.from_texts(texts)
    benchmark(pretokenize, column, threads=1, impl=impl)
    speed(texts)


def bench_rival_regex(benchmark, documents, speed):
    compiled = pytest.importorskip("regex").compile(patterns.TIKTOKEN["cl100k"])
    texts = documents(1_000_000)
    found = benchmark.pedantic(lambda: [compiled.findall(t) for t in texts], rounds=2)
    pieces, starts = pretokenize(columns.from_texts(texts))
    assert [len(f) for f in found] == (starts[1:] - starts[:-1]).tolist()
    assert [p for f in found for p in f] == [pieces[i].decode() for i in range(len(pieces))]
    speed(texts)
