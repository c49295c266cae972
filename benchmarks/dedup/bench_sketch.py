"""Workload: 2,000 sets of 450 shingles, 112 hash functions (a page after 5-gram shingling). Rival: rensa 0.5's
full R-MinHash (Fast Similarity Sketching, not the sampled `rho`) on the same flat hashes, when it is installed."""

import numpy as np
import pytest

from fasttrain.core import backend
from fasttrain.dedup.sketch import sketch

OP = "sketch"
N, LENGTH = 2_000, 450
RNG = np.random.default_rng(20261123)
SHINGLES = RNG.integers(0, 2**64, N * LENGTH, dtype=np.uint64)
OFFSETS = np.arange(N + 1) * LENGTH


def bench_sketch(benchmark, record, impl):
    n = 50 if impl == "reference" else N
    sig = benchmark(sketch, SHINGLES, OFFSETS[: n + 1], threads=1, impl=impl)
    np.testing.assert_array_equal(sig[0], sketch(SHINGLES, OFFSETS[:2], impl="reference")[0])
    record("M_shingles_per_s", n * LENGTH / 1e6)


@pytest.mark.parametrize("num_hashes", [112, 128])
def bench_rival_rensa(benchmark, record, num_hashes):
    """Its fast path needs a power of two, so it is measured at 128 too; it runs on RAYON_NUM_THREADS threads."""
    rensa = pytest.importorskip("rensa")
    offsets = OFFSETS.astype(np.uint64)
    build = rensa.RMinHash.digest_matrix_from_flat_token_hashes
    benchmark(lambda: build(SHINGLES, offsets, num_perm=num_hashes, seed=1))
    record("M_shingles_per_s", N * LENGTH / 1e6)


@pytest.mark.rival("numpy, its definition")
def bench_gate_sketch(gate):
    """Against the definition in NumPy."""
    best, offsets = backend.implementations(OP)[0], OFFSETS[:51]

    def run(impl):
        return sketch(SHINGLES[: 50 * LENGTH], offsets, threads=1, impl=impl)

    np.testing.assert_array_equal(run("reference"), run(best))
    gate(lambda: run("reference"), lambda: run(best), at_least=7.0)
