"""Workload: 2,000 pages of 4 KB against 10,000 items of 60 words, 8-grams as the stage has them; 2 % hold an item.

Rival: a Python set of word tuples. decon (Allen Institute for AI), a Rust program, is in no Python registry.
"""

import numpy as np
import pytest

from fasttrain.decontam.ngram_overlap import NgramIndex, ngram_overlap
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import shingle

N = 8
RNG = np.random.default_rng(20261123)
WORDS = np.array(["".join(map(chr, letters)) for letters in RNG.integers(97, 123, (20_000, 5))])
ITEMS = [" ".join(w) for w in RNG.choice(WORDS, (10_000, 60))]
PAGES = [" ".join(w) for w in RNG.choice(WORDS, (2_000, 600))]
PAGES[::50] = [f"{page} {ITEMS[k]}" for k, page in enumerate(PAGES[::50])]
COLUMN = columns.from_texts(PAGES)
INDEX = NgramIndex.build(shingle(columns.from_texts(ITEMS), n=N)[0], N)
OP = "ngram_overlap"


def bench_ngram_overlap(benchmark, record, impl):
    column = TextColumn(COLUMN.data, COLUMN.offsets[: 51 if impl == "reference" else None])
    hits = benchmark(ngram_overlap, column, INDEX, threads=1, impl=impl)
    assert len(hits.words) > 0
    record("MB_per_s", column.num_bytes / 1e6)


def words_in_set(grams):
    """How many n-grams of the pages are in a set of word tuples."""
    return sum(tuple(w[k : k + N]) in grams for w in (p.split() for p in PAGES) for k in range(len(w) - N + 1))


@pytest.mark.rival("Python set of word tuples")
def bench_gate_ngram_overlap(record, gate):
    grams = {tuple(w[k : k + N]) for w in (i.split() for i in ITEMS) for k in range(len(w) - N + 1)}
    assert words_in_set(grams) == len(ngram_overlap(COLUMN, INDEX).words)
    gate(lambda: words_in_set(grams), lambda: ngram_overlap(COLUMN, INDEX, threads=1), at_least=8.0, runs=5)
    record("MB_per_s", COLUMN.num_bytes / 1e6)
