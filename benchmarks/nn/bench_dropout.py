"""Workload: dropout of a stream (4, 512, 768) with p = 0.1, forward and backward, one thread. Rival: torch 2.13
`F.dropout`, whose mask depends on the order of calls and is kept for backward.

Memory is kept by malloc for both. GB/s count x, out, dout and dx once each.
"""

import pytest
import torch
import torch.nn.functional as F

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.dropout import DropoutKey, dropout

OP = "dropout"
SHAPE, P = (4, 512, 768), 0.1
KEY = DropoutKey(seed=1, step=2, rows=(0, 1, 2, 3))
GATES = {torch.float32: 1.2, torch.bfloat16: 1.5}  # times the rival's speed


def draw(dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    x, dout = (torch.randn(SHAPE, generator=g).to(dtype) for _ in range(2))
    return x.requires_grad_(), dout, 4 * x.nbytes


def ours(x, **keys):
    return dropout(x, P, KEY, 0, "ffn", **keys)


def theirs(x):
    return F.dropout(x, P)


def both_ways(drop, x, dout, **keys):
    out = drop(x, **keys)
    return out.detach(), *torch.autograd.grad(out, x, dout)


def bench_dropout(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    x, dout, moved = draw(torch.bfloat16)
    benchmark(both_ways, ours, x, dout, impl=impl)
    record("GB_per_s", moved / 1e9)


@pytest.mark.rival("torch F.dropout")
@pytest.mark.parametrize("dtype", GATES)
def bench_gate_dropout(gate, record, dtype):
    torch.set_num_threads(1)
    keep_pages()
    x, dout, moved = draw(dtype)
    for drop in (ours, theirs):  # other masks, but the same values where both keep
        out, dx = both_ways(drop, x, dout)
        for made, given in ((out, x.detach()), (dx, dout)):
            expected = (given.float() / (1 - P)).to(dtype) * (out != 0)
            torch.testing.assert_close(made, expected, rtol=2 * torch.finfo(dtype).eps, atol=0.0)
    gate(lambda: both_ways(theirs, x, dout), lambda: both_ways(ours, x, dout), GATES[dtype], runs=25)
    record("GB_per_s", moved / 1e9)
