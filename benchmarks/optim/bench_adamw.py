"""Workload: 25 M fp32 parameters, one array, one thread. Rival: torch.optim.AdamW(fused=True) 2.13, same thread count.

Both are bound by memory (28 bytes a parameter); the gate runs them in turn.
"""

import numpy as np
import torch

from fasttrain.optim.adamw import AdamW

OP = "adamw"
SIZE, BYTES = 25_000_000, 28


def make(optimizer, size=SIZE, **keys):
    p = torch.nn.Parameter(torch.randn(size, generator=torch.Generator().manual_seed(1)))
    p.grad = torch.randn(size, generator=torch.Generator().manual_seed(2))
    return p, optimizer([p], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **keys)


def bench_adamw(benchmark, record, impl):
    torch.set_num_threads(1)
    size = SIZE // 25 if impl == "reference" else SIZE
    _, ours = make(AdamW, size, impl=impl)
    benchmark(ours.step)
    record("GB_per_s", size * BYTES / 1e9)


def bench_rival_torch_fused(benchmark, record):
    torch.set_num_threads(1)
    _, theirs = make(torch.optim.AdamW, fused=True)
    benchmark(theirs.step)
    record("GB_per_s", SIZE * BYTES / 1e9)


def bench_gate_adamw(gate):
    """At memory speed there is little to win: the gate keeps ours from falling behind."""
    torch.set_num_threads(1)
    (p, ours), (q, theirs) = make(AdamW), make(torch.optim.AdamW, fused=True)
    for _ in range(11):
        ours.step(), theirs.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    gate(theirs.step, ours.step, at_least=0.5, runs=11)
