"""Workload: text to signature, 4,000 documents of 450 words (Zipf), word 5-grams, 112 hashes, one thread.

Rival: daft 0.7.26 `minhash(num_hashes=112, ngram_size=5)` on the same Arrow column, with its `normalize` step (lower
case, punctuation away, white space, NFD) and without. The signatures are of other hash functions: what is compared is
the Jaccard that both estimate.
"""

import random
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from fasttrain.dedup.minhash import minhash
from fasttrain.text import columns

OP = "minhash"
DOCUMENTS, LENGTH = 4_000, 450
R = random.Random(20261123)
WORDS = ["".join(R.choices("etaoinshrdlucmfwypvbgk", k=R.choice((2, 3, 4, 5, 6, 7, 9, 11)))) for _ in range(50_000)]
PICKS = np.minimum(np.random.default_rng(20261123).zipf(1.3, DOCUMENTS * LENGTH) - 1, len(WORDS) - 1)
ORIGINALS = [" ".join(WORDS[i] for i in PICKS[d * LENGTH : (d + 1) * LENGTH]) for d in range(DOCUMENTS // 2)]
TEXTS = [t for text in ORIGINALS for t in (text, text.replace(" ", " new ", 20))]  # near-duplicate pairs side by side
ARRAY = pa.array(TEXTS, pa.large_string())
COLUMN = columns.from_arrow(ARRAY)


def agreement(sig):
    return float((sig[::2] == sig[1::2]).mean())


def bench_minhash(benchmark, record, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 41 if impl == "reference" else None])
    benchmark(minhash, column, threads=1, impl=impl)
    record("MB_per_s", column.num_bytes / 1e6)


@cache
def one_thread(daft):
    daft.set_runner_native(num_threads=1)  # once a process


def daft_minhash(normalized):
    daft = pytest.importorskip("daft")
    one_thread(daft)
    text = daft.col("text")
    if normalized:
        text = text.normalize(remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
    frame = daft.from_arrow(pa.table({"text": ARRAY})).select(text.minhash(num_hashes=112, ngram_size=5).alias("sig"))
    return lambda: frame.to_arrow()


def agree(table):
    """Two estimates of one mean Jaccard over 2,000 pairs of 112 hashes: within six standard errors of a difference."""
    theirs = agreement(np.array(table.column("sig").to_pylist(), np.uint32))
    assert abs(theirs - agreement(minhash(COLUMN))) < 6 * (2 * 0.25 / (112 * DOCUMENTS // 2)) ** 0.5


@pytest.mark.parametrize("normalized", [False, True], ids=["as_is", "normalized"])
def bench_rival_daft(benchmark, record, normalized):
    agree(benchmark(daft_minhash(normalized)))
    record("MB_per_s", COLUMN.num_bytes / 1e6)


def bench_gate_minhash(gate):
    """Ours folds and normalises; the rival is spared its normalize step."""
    rival = daft_minhash(normalized=False)
    agree(rival())
    gate(rival, lambda: minhash(COLUMN, threads=1), at_least=3.5)
