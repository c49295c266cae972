"""Workload: causal attention, forward and backward, one thread. Rival: F.scaled_dot_product_attention of torch 2.13.

GFLOP/s count the pairs that a causal mask leaves: 2 B H T^2 D forward, 2.5 times that backward. The gate
compares outputs and gradients first.
"""

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

GATES = {  # times torch's speed: forward, backward
    "B4 H12 T512 D64": (0.7, 1.1),
    "B4 H12 T512 D64 bf16": (1.0, 1.2),
    "B2 H16/4 T2048 D128": (1.1, 1.0),
    "B2 H16/4 T2048 D128 bf16": (1.2, 0.6),
    "B8 H4 T256 D32": (0.7, 1.0),
}


def draw(name, seed=1):
    B, H, Hkv, T, D, dtype = WORKLOADS[name]
    g = torch.Generator().manual_seed(seed)
    q, k, v, dout = (torch.randn(B, T, h, D, generator=g).to(dtype) for h in (H, Hkv, Hkv, H))
    return [x.requires_grad_() for x in (q, k, v)], dout, 2.0 * B * H * T * T * D


@pytest.mark.parametrize("workload", list(WORKLOADS)[:2])
@pytest.mark.parametrize("how", [*backend.implementations(OP), "torch"])
def bench_forward(benchmark, record, how, workload):
    torch.set_num_threads(1)
    keep_pages()
    (q, k, v), _, flops = draw(workload)
    with torch.no_grad():
        benchmark(attention, q, k, v, impl=how)
    record("GFLOP_per_s", flops / 1e9)


def compare(runs):
    """Output and gradients of two implementations, in norm.

    fp32: two running sums of n terms differ by eps sqrt(n) / 2 (n: the queries that a key's gradient adds up). bf16:
    two roundings, of P and of the result.
    """
    theirs, ours = ((out, *torch.autograd.grad(out, qkv, dout)) for out, qkv, dout in runs.values())
    q, k = next(iter(runs.values()))[1][:2]
    eps, terms = torch.finfo(q.dtype).eps, q.shape[1] * q.shape[2] // k.shape[2]
    limit = eps * (terms**0.5 / 2 if q.dtype == torch.float32 else 2)
    for x, y in zip(ours, theirs, strict=True):
        x, y = x.detach().double(), y.detach().double()
        assert (x - y).norm() <= limit * y.norm()


@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("workload", WORKLOADS)
def bench_gate_attention(gate, record, workload, way):
    torch.set_num_threads(1)
    keep_pages()
    tensors, dout, flops = draw(workload)
    ours = backend.implementations(OP)[0]

    def forward(how):
        return attention(*tensors, impl=how)

    def backward(out):
        return torch.autograd.grad(out, tensors, dout)

    compare({how: (forward(how), tensors, dout) for how in ("torch", ours)})
    at_least = GATES[workload][way == "backward"]
    if way == "forward":
        gate(lambda: forward("torch"), lambda: forward(ours), at_least)
    else:
        gate(backward, backward, at_least, setup=lambda: ((forward("torch"),), (forward(ours),)))
    record("GFLOP_per_s", flops * (1 if way == "forward" else 2.5) / 1e9)
