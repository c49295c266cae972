"""Workload: one Muon step over the matrices of two blocks, dim 768, hidden 2048, one thread.
Rival: torch.optim.Muon 2.13 with the same scale, whose products are bf16 too.

Products set the speed of both: GFLOP/s count Newton-Schulz, 5 (4 n n m + 2 n n n) of a matrix (n, m), n <= m. The
passes beside them, 25 M values by each implementation, are bound by memory: 16 bytes a value for momentum, 6 for the
step of bf16 parameters by a bf16 update.
"""

import numpy as np
import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.optim.muon import Muon, muon_momentum_, muon_step_

OP = "muon"
SIZE = 25_000_000
SHAPES = 2 * [(768, 768)] * 4 + 2 * [(2048, 768), (2048, 768), (768, 2048)]
FLOPS = sum(5 * (4 * min(s) ** 2 * max(s) + 2 * min(s) ** 3) for s in SHAPES)
SETTINGS = {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.1}


def make(optimizer, **keys):
    g = torch.Generator().manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in SHAPES]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=g)
    return parameters, optimizer(parameters, **SETTINGS, **keys)


@pytest.mark.rival("torch Muon")
def bench_gate_muon(gate, record):
    torch.set_num_threads(1)
    keep_pages()
    (ours, mine), (theirs, other) = make(Muon), make(torch.optim.Muon, nesterov=True, adjust_lr_fn="match_rms_adamw")
    start = [p.detach().clone() for p in ours]
    mine.step(), other.step()
    for p, q, before in zip(ours, theirs, start, strict=True):
        assert (p - q).norm() <= 0.05 * (q - before).norm()  # five steps in bf16 on both sides
    gate(other.step, mine.step, at_least=0.8, runs=5)
    record("GFLOP_per_s", FLOPS / 1e9)


def bench_momentum(benchmark, record, impl):
    size = SIZE // 25 if impl == "reference" else SIZE
    grad, m = (np.random.default_rng(i).standard_normal(size, np.float32) for i in range(2))
    benchmark(muon_momentum_, grad, m, momentum=0.95, threads=1, impl=impl)
    record("GB_per_s", size * 16 / 1e9)


def bench_step_of_bf16(benchmark, record, impl):
    size = SIZE // 25 if impl == "reference" else SIZE
    param, update = (np.random.default_rng(i).integers(0x3F00, 0x4000, size, np.uint16) for i in range(2))
    benchmark(muon_step_, param, update, keep=1.0, rate=1e-4, threads=1, impl=impl)
    record("GB_per_s", size * 6 / 1e9)
