"""Workload: 512 English pages of about 2 KB. Rival: datatrove 0.10.1's GopherQuality, GopherRepetition, C4 and FineWeb
filters on 16 of them (it reads about 0.2 MB/s), one thread. Decisions are compared first, with our segmentation in
place of spaCy's on datatrove's side, so that rules are compared and not tokenizers.

pytest benchmarks/filter/bench_text_stats.py; needs datatrove[processing]==0.10.1 and spacy for the rival.
"""

import pytest
from filter_texts import pages

from fasttrain.filter import rules, text_stats_ref
from fasttrain.filter.text_stats import text_stats
from fasttrain.text import columns

OP = "text_stats"
PAGES = pages(512)
COLUMN = columns.from_texts(PAGES)


def bench_text_stats(benchmark, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 5 if impl == "reference" else None])
    benchmark(text_stats, column, threads=1, impl=impl)
    benchmark.extra_info["MB_per_s"] = column.num_bytes / benchmark.stats["min"] / 1e6


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


def bench_decisions_agree(benchmark, monkeypatch):
    """Not timed against anything: that both judge every page alike, family by family."""
    rivals = _datatrove_filters()
    ours = benchmark(lambda: rules.judge_all(text_stats(COLUMN), rules.RuleSet()))
    for name, module in (
        ("gopher_quality", "gopher_quality_filter"),
        ("gopher_repetition", "gopher_repetition_filter"),
        ("fineweb", "fineweb_quality_filter"),
    ):
        monkeypatch.setattr(
            f"datatrove.pipeline.filters.{module}.split_into_words", lambda text, language: text_stats_ref.words(text)
        )
        for i, text in enumerate(PAGES[:128]):
            assert _accepts(rivals[name], text) == ours[name].passes[i], (name, text)


def bench_rival_datatrove(benchmark):
    rivals = _datatrove_filters()
    texts = PAGES[:16]

    def run():
        return [[_accepts(rival, text) for rival in rivals.values()] for text in texts]

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info["MB_per_s"] = sum(map(len, texts)) / benchmark.stats["min"] / 1e6
