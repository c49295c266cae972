"""Workload: 4,096 documents of 4 KB (a page of web text each). Rival: hashlib.blake2b(digest_size=16)."""

import hashlib

import numpy as np

from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

OP = "hash128"
RNG = np.random.default_rng(20261123)
COLUMN = columns.from_texts([RNG.integers(0, 256, 4096, np.uint8).tobytes() for _ in range(4096)])


def bench_hash128(benchmark, record, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 65 if impl == "reference" else None])
    benchmark(hash128, column, threads=1, impl=impl)
    record("GB_per_s", column.num_bytes / 1e9)


def bench_rival_blake2b(benchmark, record):
    benchmark(lambda: [hashlib.blake2b(COLUMN[i], digest_size=16).digest() for i in range(len(COLUMN))])
    record("GB_per_s", COLUMN.num_bytes / 1e9)
