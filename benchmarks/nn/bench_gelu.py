"""Workload: GELU (tanh) of (2048, 3072), forward and backward, one thread. Rival: `F.gelu`, torch 2.13.

Memory is kept by malloc for both. GB/s count what must move: x, out forward; dout, x, dx backward.
"""

import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.gelu import gelu

OP = "gelu"
SHAPE = (2048, 3072)
GATES = {torch.float32: 1.5, torch.bfloat16: 2.5}  # times the rival's speed


def draw(dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    x, dout = (torch.randn(SHAPE, generator=g).to(dtype) for _ in range(2))
    return x.requires_grad_(), dout, 5 * x.nbytes


def both_ways(x, dout, impl=None):
    out = gelu(x, impl=impl)
    return (out.detach(), *torch.autograd.grad(out, x, dout))


def bench_gelu(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    x, dout, moved = draw(torch.bfloat16)
    benchmark(both_ways, x, dout, impl=impl)
    record("GB_per_s", moved / 1e9)


@pytest.mark.rival("torch F.gelu")
@pytest.mark.parametrize("dtype", GATES)
def bench_gate_gelu(gate, record, dtype):
    torch.set_num_threads(1)
    keep_pages()
    x, dout, moved = draw(dtype)
    for ours, theirs in zip(both_ways(x, dout), both_ways(x, dout, impl="torch"), strict=True):
        # In norm: one rounding of each side.
        assert (ours.double() - theirs.double()).norm() <= torch.finfo(dtype).eps * theirs.double().norm()
    gate(lambda: both_ways(x, dout, impl="torch"), lambda: both_ways(x, dout), GATES[dtype])
    record("GB_per_s", moved / 1e9)
