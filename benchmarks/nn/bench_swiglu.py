"""Workload: silu(gate) * up of (4096, 2048), forward and backward, one thread. Rival: `F.silu` times up, torch 2.13.

Memory is kept by malloc for both. GB/s count what must move: gate, up, out forward; dout, gate, up, dgate,
dup backward.
"""

import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.swiglu import swiglu

OP = "swiglu"
SHAPE = (4096, 2048)
GATES = {torch.float32: 0.8, torch.bfloat16: 0.85}  # times the rival's speed


def draw(dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    gate, up, dout = (torch.randn(SHAPE, generator=g).to(dtype) for _ in range(3))
    return [gate.requires_grad_(), up.requires_grad_()], dout, 8 * gate.nbytes


def both_ways(leaves, dout, impl=None):
    out = swiglu(*leaves, impl=impl)
    return (out.detach(), *torch.autograd.grad(out, leaves, dout))


def bench_swiglu(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    leaves, dout, moved = draw(torch.bfloat16)
    benchmark(both_ways, leaves, dout, impl=impl)
    record("GB_per_s", moved / 1e9)


@pytest.mark.rival("torch F.silu")
@pytest.mark.parametrize("dtype", GATES)
def bench_gate_swiglu(gate, record, dtype):
    torch.set_num_threads(1)
    keep_pages()
    leaves, dout, moved = draw(dtype)
    for x, y in zip(both_ways(leaves, dout), both_ways(leaves, dout, impl="torch"), strict=True):
        # In norm: three roundings, of the composite's steps.
        assert (x.double() - y.double()).norm() <= 3 * torch.finfo(dtype).eps * y.double().norm()
    gate(lambda: both_ways(leaves, dout, impl="torch"), lambda: both_ways(leaves, dout), GATES[dtype])
    record("GB_per_s", moved / 1e9)
