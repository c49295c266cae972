"""Workload: one Muon step over the matrices of two blocks, dim 768, hidden 2048, one thread.
Rival: torch.optim.Muon 2.13 with the same scale, whose products are bf16 too.

Products set the speed of both: GFLOP/s count Newton-Schulz, 5 (4 n n m + 2 n n n) of a matrix (n, m), n <= m.
"""

import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.optim.muon import Muon

SHAPES = 2 * [(768, 768)] * 4 + 2 * [(2048, 768), (2048, 768), (768, 2048)]
FLOPS = sum(5 * (4 * min(s) ** 2 * max(s) + 2 * min(s) ** 3) for s in SHAPES)
SETTINGS = {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.1}


def make(optimizer, **keys):
    g = torch.Generator().manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in SHAPES]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=g)
    return parameters, optimizer(parameters, **SETTINGS, **keys)


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
