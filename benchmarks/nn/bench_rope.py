"""Workload: RoPE of queries (4, 512, 12, 64), forward and backward, one thread. Rivals, torch 2.13: the eager form of
Hugging Face's Llama, and the same under `torch.compile`.

Memory is kept by malloc for all. GB/s count x, out, dout and dx once each; the tables stay in the cache.
"""

import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.rope import positions, rope, rope_tables

OP = "rope"
SHAPE = (4, 512, 12, 64)
GATES = {  # (dtype, rival): times its speed
    (torch.float32, "eager"): 1.5,
    (torch.bfloat16, "eager"): 2.5,
    (torch.float32, "compile"): 1.0,
    (torch.bfloat16, "compile"): 1.2,
}


def draw(dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    x, dout = (torch.randn(SHAPE, generator=g).to(dtype) for _ in range(2))
    return x.requires_grad_(), rope_tables(positions(SHAPE[1]), SHAPE[-1], 1e4), dout, 4 * x.nbytes


def eager(x, cos, sin):
    return rope(x, cos, sin, impl="torch")


def both_ways(turn, x, tables, dout, **keys):
    out = turn(x, *tables, **keys)
    return out.detach(), *torch.autograd.grad(out, x, dout)


def bench_rope(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    *arguments, moved = draw(torch.bfloat16)
    benchmark(both_ways, rope, *arguments, impl=impl)
    record("GB_per_s", moved / 1e9)


@pytest.mark.rival("torch")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own, inside its compiler
@pytest.mark.parametrize(("dtype", "rival"), GATES)
def bench_gate_rope(gate, record, dtype, rival):
    torch.set_num_threads(1)
    keep_pages()
    *arguments, moved = draw(dtype)
    theirs = torch.compile(eager) if rival == "compile" else eager
    for x, y in zip(both_ways(rope, *arguments), both_ways(theirs, *arguments), strict=True):
        # In norm: three roundings in fp32 and one of the result, on both sides.
        assert (x.double() - y.double()).norm() <= 4 * torch.finfo(dtype).eps * y.double().norm()
    gate(lambda: both_ways(theirs, *arguments), lambda: both_ways(rope, *arguments), GATES[dtype, rival], runs=25)
    record("GB_per_s", moved / 1e9)
