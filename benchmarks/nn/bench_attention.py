"""Workload: causal attention, forward and backward, one thread. Rival: F.scaled_dot_product_attention of torch 2.13.

GFLOP/s count the pairs that a causal mask leaves: 2 B H T^2 D forward, 2.5 times that backward. `bench_ratio` runs ours
and the rival's in turn, after comparing their answers, and records the ratio of the medians.
"""

import statistics
import time

import pytest
import torch

from fasttrain.core import backend
from fasttrain.core.malloc import keep_pages
from fasttrain.nn.attention import attention

OP = "attention"
WORKLOADS = {  # B, H, Hkv, T, D, dtype
    "B4 H12 T512 D64": (4, 12, 12, 512, 64, torch.float32),
    "B4 H12 T512 D64 bf16": (4, 12, 12, 512, 64, torch.bfloat16),
    "B2 H16/4 T2048 D128": (2, 16, 4, 2048, 128, torch.float32),
    "B2 H16/4 T2048 D128 bf16": (2, 16, 4, 2048, 128, torch.bfloat16),
    "B8 H4 T256 D32": (8, 4, 4, 256, 32, torch.float32),
}


def draw(name, seed=1):
    B, H, Hkv, T, D, dtype = WORKLOADS[name]
    g = torch.Generator().manual_seed(seed)
    q, k, v, dout = (torch.randn(B, T, h, D, generator=g).to(dtype) for h in (H, Hkv, Hkv, H))
    return [x.requires_grad_() for x in (q, k, v)], dout, 2.0 * B * H * T * T * D


def timed(tensors, dout, impl):
    start = time.perf_counter()
    out = attention(*tensors, impl=impl)
    middle = time.perf_counter()
    out.backward(dout)
    return out.detach(), middle - start, time.perf_counter() - middle


@pytest.mark.parametrize("workload", list(WORKLOADS)[:2])
@pytest.mark.parametrize("how", [*backend.implementations(OP), "torch"])
def bench_forward(benchmark, how, workload):
    torch.set_num_threads(1)
    keep_pages()
    (q, k, v), _, flops = draw(workload)
    with torch.no_grad():
        benchmark(attention, q, k, v, impl=how)
    benchmark.extra_info["GFLOP_per_s"] = flops / benchmark.stats["median"] / 1e9


@pytest.mark.parametrize("workload", WORKLOADS)
def bench_ratio(benchmark, workload):
    torch.set_num_threads(1)
    keep_pages()
    tensors, dout, flops = draw(workload)
    ours = backend.implementations(OP)[0]
    seconds = {(how, way): [] for how in (ours, "torch") for way in ("forward", "backward")}
    outs = {}
    for turn in range(8):
        for how in (ours, "torch"):
            outs[how], forward, backward = timed(tensors, dout, how)
            if turn:  # the first warms up
                seconds[how, "forward"].append(forward)
                seconds[how, "backward"].append(backward)
    rounding = torch.finfo(outs[ours].dtype).eps
    torch.testing.assert_close(outs[ours], outs["torch"], rtol=4 * rounding, atol=32 * rounding)
    benchmark.pedantic(timed, (tensors, dout, ours), rounds=1)
    for way, work in (("forward", flops), ("backward", 2.5 * flops)):
        mine, theirs = (statistics.median(seconds[how, way]) for how in (ours, "torch"))
        benchmark.extra_info[way] = theirs / mine
        rates = f"{work / mine / 1e9:.0f} against {work / theirs / 1e9:.0f} GFLOP/s"
        print(f"\n{workload} {way}: {theirs / mine:.2f}x torch's SDPA ({ours}, {rates})", end="")
