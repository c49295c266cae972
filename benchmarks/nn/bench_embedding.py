"""Workload: an embedding (32000, 768) of 4 x 512 tokens, common words first, forward and backward, one thread.
Rival: torch 2.13 `F.embedding`, which adds in the weight's dtype, behind a pass of zeros.

Memory is kept by malloc for both. GB/s count dweight, once: everything else is small.
"""

import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.embedding import embedding
from fasttrain.nn.embedding_op import embedding_backward_op

OP = "embedding"
SHAPE, V, C = (4, 512), 32000, 768
GATES = {torch.float32: 0.75, torch.bfloat16: 0.75}  # times the rival's speed: both write dweight at memory speed


def draw(dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    ids = (V * torch.rand(SHAPE, generator=g) ** 3).long()
    weight, dout = torch.randn(V, C, generator=g).to(dtype), torch.randn(*SHAPE, C, generator=g).to(dtype)
    return ids, weight.requires_grad_(), dout


def both_ways(ids, weight, dout, impl=None):
    out = embedding(ids, weight, impl=impl)
    return out.detach(), *torch.autograd.grad(out, weight, dout)


def bench_embedding(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    ids, weight, dout = draw(torch.bfloat16)
    benchmark(embedding_backward_op, dout, ids, V, impl)
    record("GB_per_s", weight.nbytes / 1e9)


@pytest.mark.rival("torch F.embedding")
@pytest.mark.parametrize("dtype", GATES)
def bench_gate_embedding(gate, record, dtype):
    torch.set_num_threads(1)
    keep_pages()
    ids, weight, dout = draw(dtype)
    most = ids.flatten().bincount().max().item()
    for x, y in zip(both_ways(ids, weight, dout), both_ways(ids, weight, dout, impl="torch"), strict=True):
        # In norm: as many roundings as the commonest word has tokens, at most.
        assert (x.double() - y.double()).norm() <= most * torch.finfo(dtype).eps * y.double().norm()
    gate(
        lambda: both_ways(ids, weight, dout, impl="torch"), lambda: both_ways(ids, weight, dout), GATES[dtype], runs=15
    )
    record("GB_per_s", weight.nbytes / 1e9)
