"""Workload: 512 English pages of about 2 KB (conftest.py), one thread. Rival: datatrove 0.10.1's GopherQuality,
GopherRepetition, C4 and FineWeb filters on 16 of them (it reads about 0.2 MB/s).

Decisions are compared first, with our segmentation in place of spaCy's on datatrove's side, so that rules are compared
and not tokenizers. The rival is then timed with its own. What is timed of ours gives more: statistics, all rules'
verdicts (RefinedWeb's too), the texts as C4 and RefinedWeb leave them, and FineWeb's statistics of those.
"""

import numpy as np
import pytest

from fasttrain.filter import rules, text_stats_ref
from fasttrain.filter.line_edit import EDIT_C4, EDIT_REFINEDWEB
from fasttrain.filter.text_stats import stats_and_edits, text_stats
from fasttrain.text import columns

OP = "text_stats"
PATCHED = {  # family: datatrove's module whose segmentation is ours while decisions are compared
    "gopher_quality": "gopher_quality_filter",
    "gopher_repetition": "gopher_repetition_filter",
    "fineweb": "fineweb_quality_filter",
}


def bench_text_stats(benchmark, record, column, impl):
    column = columns.TextColumn(column.data, column.offsets[: 5 if impl == "reference" else None])
    benchmark(text_stats, column, threads=1, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


def bench_stats_and_edits(benchmark, record, column):
    edit = np.full(len(column), EDIT_C4 | EDIT_REFINEDWEB, np.uint8)
    benchmark(stats_and_edits, column, edit, threads=1)
    record("MB_per_s", column.num_bytes / 1e6)


def _datatrove_filters():
    pytest.importorskip("spacy")
    filters = pytest.importorskip("datatrove.pipeline.filters")
    return {
        "gopher_quality": filters.GopherQualityFilter(),
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "c4": filters.C4QualityFilter(),
        "fineweb": filters.FineWebQualityFilter(),
    }


def _accepts(rival, text):
    from datatrove.data import Document

    result = rival.filter(Document(text=text, id="0"))
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.rival("datatrove, four filters")
def bench_gate_text_stats(gate, monkeypatch, pages, column):
    rivals = _datatrove_filters()
    verdicts = rules.judge_all(text_stats(column), rules.RuleSet())
    for name, module in PATCHED.items():
        with monkeypatch.context() as patch:
            patch.setattr(
                f"datatrove.pipeline.filters.{module}.split_into_words",
                lambda text, language: text_stats_ref.words(text),
            )
            for i, text in enumerate(pages[:128]):
                assert _accepts(rivals[name], text) == verdicts[name].passes[i], (name, text)

    def theirs():
        return [[_accepts(rival, text) for rival in rivals.values()] for text in pages[:16]]

    edit = np.full(len(column), EDIT_C4 | EDIT_REFINEDWEB, np.uint8)

    def mine():
        counts, edited = stats_and_edits(column, edit, threads=1)
        return rules.judge_all(counts, rules.RuleSet()), edited

    gate(theirs, mine, at_least=250, runs=3, work=column.offsets[-1] / column.offsets[16])
