"""Workload: 512 English pages of about 2 KB (conftest.py). Rival: datatrove 0.10.1's C4QualityFilter on 16 of them, one
thread."""

import pytest

from fasttrain.filter.c4_lines import c4_lines
from fasttrain.text import columns

OP = "c4_lines"


def bench_c4_lines(benchmark, record, column, impl):
    column = columns.TextColumn(column.data, column.offsets[: 5 if impl == "reference" else None])
    benchmark(c4_lines, column, threads=1, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


def bench_rival_datatrove(benchmark, record, pages, column):
    pytest.importorskip("spacy")
    rival = pytest.importorskip("datatrove.pipeline.filters").C4QualityFilter(min_num_sentences=-1)
    document = pytest.importorskip("datatrove.data").Document
    edited = c4_lines(column)

    def run():
        found = [document(text=text, id="0") for text in pages[:16]]
        for d in found:
            rival.filter(d)
        return found

    found = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert [d.text for d in found] == [edited[i].decode() for i in range(16)]
    record("MB_per_s", sum(map(len, pages[:16])) / 1e6)
