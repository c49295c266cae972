"""Workload: 25 M fp32 parameters, one array, one thread. Rival: torch.optim.AdamW(fused=True) 2.13, same thread count.

Both are bound by memory (28 bytes a parameter); `bench_ratio` runs them in turn and records rival time / ours.
"""

import statistics
import time

import numpy as np
import torch

from fasttrain.optim.adamw import AdamW

OP = "adamw"
SIZE, BYTES = 25_000_000, 28


def make(optimizer, size=SIZE, **keys):
    p = torch.nn.Parameter(torch.randn(size, generator=torch.Generator().manual_seed(1)))
    p.grad = torch.randn(size, generator=torch.Generator().manual_seed(2))
    return p, optimizer([p], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **keys)


def bench_adamw(benchmark, impl):
    torch.set_num_threads(1)
    size = SIZE // 25 if impl == "reference" else SIZE
    _, ours = make(AdamW, size, impl=impl)
    benchmark(ours.step)
    benchmark.extra_info["GB_per_s"] = size * BYTES / benchmark.stats["median"] / 1e9


def bench_rival_torch_fused(benchmark):
    torch.set_num_threads(1)
    _, theirs = make(torch.optim.AdamW, fused=True)
    benchmark(theirs.step)
    benchmark.extra_info["GB_per_s"] = SIZE * BYTES / benchmark.stats["median"] / 1e9


def bench_ratio(benchmark):
    torch.set_num_threads(1)
    (p, ours), (q, theirs) = make(AdamW), make(torch.optim.AdamW, fused=True)
    times = {"ours": [], "theirs": []}
    for _ in range(11):
        for name, optimizer in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            optimizer.step()
            times[name].append(time.perf_counter() - start)
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    median = {name: statistics.median(t) for name, t in times.items()}
    benchmark.extra_info["speed_over_torch_fused"] = median["theirs"] / median["ours"]
    benchmark.pedantic(ours.step, rounds=1)
    print(f"\nAdamW, {SIZE:,} parameters, 1 thread: torch fused / ours = {median['theirs'] / median['ours']:.2f}")
