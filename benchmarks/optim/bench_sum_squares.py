"""Workload: 25 M fp32 values, one thread. Rival: torch.linalg.vector_norm 2.13 (which adds in fp32)."""

import math

import numpy as np
import pytest
import torch

from fasttrain.optim.sum_squares import sum_squares

OP = "sum_squares"
X = np.random.default_rng(1).standard_normal(25_000_000, np.float32)


def bench_sum_squares(benchmark, record, impl):
    x = X[: len(X) // 250] if impl == "reference" else X
    benchmark(sum_squares, x, threads=1, impl=impl)
    record("GB_per_s", x.nbytes / 1e9)


def bench_rival_torch(benchmark, record):
    torch.set_num_threads(1)
    norm = benchmark(torch.linalg.vector_norm, torch.from_numpy(X))
    assert norm.item() == pytest.approx(
        math.sqrt(sum_squares(X)), rel=3e-3
    )  # torch adds in fp32 and is off by 1.4e-3 here
    record("GB_per_s", X.nbytes / 1e9)
