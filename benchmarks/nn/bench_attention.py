"""Workload: causal attention, forward and backward, and a decoding step against a cache. Rival:
F.scaled_dot_product_attention of torch 2.13, with a mask tensor where documents are masked. Memory is kept by malloc
for both.

GFLOP/s count the pairs that a mask leaves: 4 D a pair forward, 2.5 times that backward; GB/s of a decoding step the
keys and values. Gates compare outputs and gradients first.
"""

import pytest
import torch

from fasttrain.core import backend
from fasttrain.core.malloc import keep_pages
from fasttrain.nn.attention import attention

OP = "attention"
FP32, BF16 = torch.float32, torch.bfloat16
WORKLOADS = {  # B, H, Hkv, T, D, documents, dtype
    "B4 H8 T1024 D64 bf16": (4, 8, 8, 1024, 64, 1, BF16),
    "B4 H8 T1024 D64": (4, 8, 8, 1024, 64, 1, FP32),
    "B1 H8 T4096 D64 bf16": (1, 8, 8, 4096, 64, 1, BF16),
    "B1 H8 T4096 D64": (1, 8, 8, 4096, 64, 1, FP32),
    "B2 H16 T2048 D128 bf16": (2, 16, 16, 2048, 128, 1, BF16),
    "B2 H16 T2048 D128": (2, 16, 16, 2048, 128, 1, FP32),
    "B2 H16/4 T2048 D128 bf16": (2, 16, 4, 2048, 128, 1, BF16),
    "B2 H16/4 T2048 D128": (2, 16, 4, 2048, 128, 1, FP32),
    "B1 H8 T4096 D64, 8 documents, bf16": (1, 8, 8, 4096, 64, 8, BF16),
    "B8 H4 T256 D32": (8, 4, 4, 256, 32, 1, FP32),
    "B1 H1 T4096 D64 bf16": (1, 1, 1, 4096, 64, 1, BF16),
    "B1 H1 T4096 D64": (1, 1, 1, 4096, 64, 1, FP32),
    "B1 H8/1 T2048 D128 bf16": (1, 8, 1, 2048, 128, 1, BF16),
    "B1 H8/1 T2048 D128": (1, 8, 1, 2048, 128, 1, FP32),
}

GATES = {  # times torch's speed: forward, backward
    "B4 H8 T1024 D64 bf16": (2.0, 1.5),
    "B4 H8 T1024 D64": (1.0, 1.4),
    "B1 H8 T4096 D64 bf16": (2.2, 1.3),
    "B1 H8 T4096 D64": (1.0, 1.2),
    "B2 H16 T2048 D128 bf16": (2.0, 1.4),
    "B2 H16 T2048 D128": (0.9, 1.2),
    "B2 H16/4 T2048 D128 bf16": (2.5, 1.4),
    "B2 H16/4 T2048 D128": (1.2, 1.2),
    "B1 H8 T4096 D64, 8 documents, bf16": (15.0, 12.0),
    "B8 H4 T256 D32": (0.7, 1.0),
    "B1 H1 T4096 D64 bf16": (2.0, 1.3),
    "B1 H1 T4096 D64": (1.0, 1.2),
    "B1 H8/1 T2048 D128 bf16": (2.0, 1.4),
    "B1 H8/1 T2048 D128": (1.0, 1.2),
}

DECODING = {  # B, H, Hkv, Tq, Tk, D, dtype, gate
    "B8 H16/4 T4096 D128 bf16": (8, 16, 4, 1, 4096, 128, BF16, 10.0),
    "B1 H8 T16384 D64 bf16": (1, 8, 8, 1, 16384, 64, BF16, 4.0),
    "B8 H16/4 T4096 D128": (8, 16, 4, 1, 4096, 128, FP32, 1.2),
    "B1 H8 T16384 D64": (1, 8, 8, 1, 16384, 64, FP32, 1.0),
    "B1 H12 T128 D64": (1, 12, 12, 1, 128, 64, FP32, 1.0),
    "B1 H12 T512 D64": (1, 12, 12, 1, 512, 64, FP32, 0.9),
    "B8 H12 T128 D64": (8, 12, 12, 1, 128, 64, FP32, 0.7),
    "B1 H12 T128 D64 bf16": (1, 12, 12, 1, 128, 64, BF16, 1.5),
    "B1 H12 T512 D64 bf16": (1, 12, 12, 1, 512, 64, BF16, 2.0),
    "B2 H32/8 T8192 D128, 8 queries, bf16": (2, 32, 8, 8, 8192, 128, BF16, 3.0),
}


def draw(name, seed=1):
    B, H, Hkv, T, D, documents, dtype = WORKLOADS[name]
    g = torch.Generator().manual_seed(seed)
    q, k, v, dout = (torch.randn(B, T, h, D, generator=g).to(dtype) for h in (H, Hkv, Hkv, H))
    flops = 2.0 * B * H * T * (T / documents) * D
    keys = (
        {} if documents == 1 else {"cu_seqlens": torch.arange(B * documents + 1, dtype=torch.int32) * (T // documents)}
    )
    return [x.requires_grad_() for x in (q, k, v)], dout, keys, flops


@pytest.mark.parametrize("workload", list(WORKLOADS)[:2])
@pytest.mark.parametrize("how", [*backend.implementations(OP), "torch"])
def bench_forward(benchmark, record, how, workload):
    torch.set_num_threads(1)
    keep_pages()
    (q, k, v), _, keys, flops = draw(workload)
    with torch.no_grad():
        benchmark(attention, q, k, v, impl=how, **keys)
    record("GFLOP_per_s", flops / 1e9)


def compare(runs):
    """Output and gradients of two implementations, in norm.

    fp32: two running sums of n terms differ by eps sqrt(n) / 2 (n: the queries that a key's gradient adds up). bf16:
    two roundings, of P and of the result, of each.
    """
    theirs, ours = ((out, *torch.autograd.grad(out, qkv, dout)) for out, qkv, dout in runs.values())
    q, k = next(iter(runs.values()))[1][:2]
    eps, terms = torch.finfo(q.dtype).eps, q.shape[1] * q.shape[2] // k.shape[2]
    limit = eps * (terms**0.5 / 2 if q.dtype == torch.float32 else 2)
    for x, y in zip(ours, theirs, strict=True):
        x, y = x.detach().double(), y.detach().double()
        assert (x - y).norm() <= limit * y.norm()


@pytest.mark.rival("torch SDPA")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("workload", WORKLOADS)
def bench_gate_attention(gate, record, workload, way, threads):
    torch.set_num_threads(threads)
    keep_pages()
    tensors, dout, keys, flops = draw(workload)
    ours = backend.implementations(OP)[0]

    def forward(how):
        return attention(*tensors, impl=how, **keys)

    def backward(out):
        return torch.autograd.grad(out, tensors, dout)

    compare({how: (forward(how), tensors, dout) for how in ("torch", ours)})
    at_least = GATES[workload][way == "backward"]
    if way == "forward":
        gate(lambda: forward("torch"), lambda: forward(ours), at_least)
    else:
        gate(backward, backward, at_least, setup=lambda: ((forward("torch"),), (forward(ours),)))
    record("GFLOP_per_s", flops * (1 if way == "forward" else 2.5) / 1e9)


@pytest.mark.rival("torch SDPA")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("workload", DECODING)
def bench_gate_decoding(gate, record, workload, threads):
    """One step of generation against a cache with room left."""
    torch.set_num_threads(threads)
    keep_pages()
    B, H, Hkv, Tq, Tk, D, dtype, at_least = DECODING[workload]
    g = torch.Generator().manual_seed(1)
    q = torch.randn(B, Tq, H, D, generator=g).to(dtype)
    k, v = (torch.randn(B, Tk + 256, Hkv, D, generator=g).to(dtype)[:, :Tk] for _ in range(2))
    theirs, ours = (attention(q, k, v, impl=how).double() for how in ("torch", None))
    assert (ours - theirs).norm() <= 4 * Tk**0.5 * torch.finfo(dtype).eps * theirs.norm()
    size = 2 * k.numel() * k.element_size()
    steps = max(1, 2**24 // size)  # a turn: a short step alone would measure the clock

    def turn(how):
        for _ in range(steps):
            attention(q, k, v, impl=how)

    gate(lambda: turn("torch"), lambda: turn(None), at_least)
    record("GB_per_s", steps * size / 1e9)
