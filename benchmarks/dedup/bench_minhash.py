"""Workload: text to signature, 4,000 documents of 450 words (Zipf), word 5-grams, 112 hashes, one thread.

Rivals: daft 0.7.26 `minhash(num_hashes=112, ngram_size=5)` on the same Arrow column, with its `normalize` step (lower
case, punctuation away, white space, NFD) and without. On the first `FEW` documents: datatrove 0.10.1
`MinhashDedupSignature` (words by spaCy 3.8.18), rensa 0.5.0 `RMinHash.digest_matrix_from_token_sets` (the full set, not
`rho`) and datasketch 2.0.0 `MinHash.bulk`, the last two on n-grams that Python joins, which is timed with them; and
gaoya 0.2.2, which shows no signature: its index is filled, and answers with the pairs. The signatures are of other hash
functions: what is compared is the Jaccard that both estimate.
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
FEW = 60
FEW_BYTES = int(COLUMN.offsets[FEW])


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


def agree(signatures):
    """Two estimates of one mean Jaccard, over n/2 pairs of 112 hashes: within six standard errors of a difference."""
    n = len(signatures)
    ours = agreement(minhash(columns.TextColumn(COLUMN.data, COLUMN.offsets[: n + 1])))
    assert abs(agreement(signatures) - ours) < 6 * (2 * 0.25 / (112 * n // 2)) ** 0.5


def of_daft(table):
    return np.array(table.column("sig").to_pylist(), np.uint32)


def ngrams(text):
    words = text.split()
    return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}


def datatrove_minhash():
    """Its two steps without its files, on texts that hold nothing its normalisation would change."""
    module = pytest.importorskip("datatrove.pipeline.dedup.minhash")
    step = module.MinhashDedupSignature("/tmp", module.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8))
    return lambda: np.array([step.get_signature(step.get_shingles(t)) for t in TEXTS[:FEW]]).reshape(FEW, 112)


def rensa_minhash():
    build = pytest.importorskip("rensa").RMinHash.digest_matrix_from_token_sets
    matrix = lambda: build([list(ngrams(t)) for t in TEXTS[:FEW]], num_perm=112, seed=1)  # noqa: E731
    return lambda: np.array(matrix().to_rows())


def datasketch_minhash():
    build = pytest.importorskip("datasketch").MinHash.bulk
    return lambda: np.array(
        [m.hashvalues for m in build([[g.encode() for g in ngrams(t)] for t in TEXTS[:FEW]], num_perm=112)]
    )


@pytest.mark.parametrize("normalized", [False, True], ids=["as_is", "normalized"])
def bench_rival_daft(benchmark, record, normalized):
    agree(of_daft(benchmark(daft_minhash(normalized))))
    record("MB_per_s", COLUMN.num_bytes / 1e6)


@pytest.mark.parametrize("rival", [datatrove_minhash, rensa_minhash, datasketch_minhash])
def bench_rival(benchmark, record, rival):
    agree(benchmark(rival()))
    record("MB_per_s", FEW_BYTES / 1e6)


def bench_rival_gaoya(benchmark, record):
    index = pytest.importorskip("gaoya").minhash.MinHashStringIndex

    def fill():
        filled = index(32, 0.7, 14, 8, analyzer="word", ngram_range=(5, 5))
        for i, text in enumerate(TEXTS[:FEW]):
            filled.insert_document(i, text)
        return filled

    filled = benchmark(fill)
    assert all(i in filled.query(TEXTS[i]) for i in range(FEW))
    record("MB_per_s", FEW_BYTES / 1e6)


@pytest.mark.rival("daft")
def bench_gate_minhash(gate):
    """Ours folds and normalises; the rival is spared its normalize step."""
    rival = daft_minhash(normalized=False)
    agree(of_daft(rival()))
    gate(rival, lambda: minhash(COLUMN, threads=1), at_least=3.5)


@pytest.mark.rival("datatrove")
def bench_gate_datatrove(gate):
    """Ours makes all documents in its turn, theirs the first few."""
    rival = datatrove_minhash()
    agree(rival())
    gate(rival, lambda: minhash(COLUMN, threads=1), at_least=500, work=COLUMN.num_bytes / FEW_BYTES)
