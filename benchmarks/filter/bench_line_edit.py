"""Workload: 512 English pages of about 2 KB (conftest.py). Rival: datatrove 0.10.1's C4QualityFilter on 16 of them, one
thread; RefinedWeb's rules have none that installs here, so that edit is only recorded."""

import numpy as np
import pytest

from fasttrain.filter.line_edit import EDIT_C4, EDIT_REFINEDWEB, line_edit
from fasttrain.text import columns

OP = "line_edit"


@pytest.mark.parametrize("edit", [EDIT_C4, EDIT_REFINEDWEB, EDIT_C4 | EDIT_REFINEDWEB])
def bench_line_edit(benchmark, record, column, edit, impl):
    column = columns.TextColumn(column.data, column.offsets[: 5 if impl == "reference" else None])
    benchmark(line_edit, column, np.full(len(column), edit, np.uint8), threads=1, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


def bench_rival_datatrove(benchmark, record, pages, column):
    pytest.importorskip("spacy")
    rival = pytest.importorskip("datatrove.pipeline.filters").C4QualityFilter(min_num_sentences=-1)
    document = pytest.importorskip("datatrove.data").Document
    edited = line_edit(column, np.full(len(column), EDIT_C4, np.uint8))

    def run():
        found = [document(text=text, id="0") for text in pages[:16]]
        for d in found:
            rival.filter(d)
        return found

    found = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert [d.text for d in found] == [edited[i].decode() for i in range(16)]
    record("MB_per_s", sum(map(len, pages[:16])) / 1e6)
