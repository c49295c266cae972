"""Workload: 2,000 pairs of sets of 2,000 shingles, half in common. Rival: Python's sets, built before."""

import numpy as np

from fasttrain.dedup.jaccard import jaccard

OP = "jaccard"
N, LENGTH = 2_000, 2_000
RNG = np.random.default_rng(20261123)
POOL = np.sort(RNG.integers(0, 2**64, (N, 3 * LENGTH // 2), dtype=np.uint64), axis=1)
PICK = np.sort(np.argsort(RNG.random((2, 3 * LENGTH // 2)), axis=1)[:, :LENGTH], axis=1)
A, B = (np.ascontiguousarray(POOL[:, p]).reshape(-1) for p in PICK)
OFFSETS = np.arange(N + 1) * LENGTH
PAIRS = np.stack([np.arange(N), np.arange(N)], axis=1)


def bench_jaccard(benchmark, record, impl):
    benchmark(jaccard, (A, OFFSETS), (B, OFFSETS), PAIRS, threads=1, impl=impl)
    record("M_elements_per_s", 2 * len(A) / 1e6)


def bench_rival_python_sets(benchmark, record):
    sets = [[set(x[i * LENGTH : (i + 1) * LENGTH].tolist()) for i in range(200)] for x in (A, B)]
    got = benchmark(lambda: [len(x & y) for x, y in zip(*sets)])
    want = jaccard((A, OFFSETS), (B, OFFSETS), PAIRS[:200])
    np.testing.assert_allclose([c / (2 * LENGTH - c) for c in got], want)
    record("M_elements_per_s", 2 * 200 * LENGTH / 1e6)
