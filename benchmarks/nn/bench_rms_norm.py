"""Workload: RMSNorm of (4096, 4096) in bf16 with a residual, and alone, both ways, on one thread and two.

Rivals, torch 2.13: `rms_norm` of a sum (composite on CPU), and `layer_norm`, its fastest norm. Memory is kept by malloc
for all. GB/s count what must move: with a residual x, residual, r, y forward and dy, dr, r, dx backward; alone x, y and
dy, x, dx.
"""

import pytest
import torch
import torch.nn.functional as F

from fasttrain.core.malloc import keep_pages
from fasttrain.nn.rms_norm import rms_norm, rms_norm_residual

OP = "rms_norm"
SIZE, EPS = 4096, 1e-5


def draw(size=SIZE, seed=1):
    g = torch.Generator().manual_seed(seed)
    x, residual, dy, dr = (torch.randn(size, size, generator=g).bfloat16() for _ in range(4))
    weight = (1 + 0.1 * torch.randn(size, generator=g)).bfloat16()
    return [t.requires_grad_() for t in (x, residual, weight)], (dy, dr)


def ours_residual(x, residual, weight, impl=None):
    return rms_norm_residual(x, residual, weight, EPS, impl=impl)


def torch_rms_norm_residual(x, residual, weight):
    r = x + residual
    return F.rms_norm(r, weight.shape, weight, EPS), r


def torch_layer_norm_residual(x, residual, weight):
    r = x + residual
    return F.layer_norm(r, weight.shape, weight, None, EPS), r


def ours_alone(x, residual, weight, impl=None):
    return (rms_norm(x, weight, EPS, impl=impl),)


def torch_rms_norm(x, residual, weight):
    return (F.rms_norm(x, weight.shape, weight, EPS),)


def torch_layer_norm(x, residual, weight):
    return (F.layer_norm(x, weight.shape, weight, None, EPS),)


def both_ways(norm, leaves, gradients, **keys):
    outputs = norm(*leaves, **keys)
    used = leaves if len(outputs) == 2 else leaves[::2]
    return (*outputs, *torch.autograd.grad(outputs, used, gradients[: len(outputs)]))


GATES = {  # rival, ours: times the rival's speed
    "rms_norm + add": (torch_rms_norm_residual, ours_residual, 3.0),
    "layer_norm + add": (torch_layer_norm_residual, ours_residual, 0.8),
    "rms_norm": (torch_rms_norm, ours_alone, 3.9),
    "layer_norm": (torch_layer_norm, ours_alone, 0.8),
}


def bench_rms_norm(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    leaves, gradients = draw()
    benchmark(both_ways, ours_residual, leaves, gradients, impl=impl)
    record("GB_per_s", 8 * 2 * SIZE**2 / 1e9)


def compare(leaves, gradients, rival, norm):
    """In norm, two roundings to bf16 of each step of the composite; layer_norm computes something else."""
    if "layer" in rival.__name__:
        return
    for x, y in zip(both_ways(norm, leaves, gradients), both_ways(rival, leaves, gradients), strict=True):
        assert (x.double() - y.double()).norm() <= 4 * torch.finfo(torch.bfloat16).eps * y.double().norm()


@pytest.mark.rival("torch")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rival", GATES)
def bench_gate_rms_norm(gate, record, rival, threads):
    torch.set_num_threads(threads)
    keep_pages()
    theirs, ours, at_least = GATES[rival]
    leaves, gradients = draw()
    compare(leaves, gradients, theirs, ours)
    gate(lambda: both_ways(theirs, leaves, gradients), lambda: both_ways(ours, leaves, gradients), at_least)
    record("GB_per_s", (8 if ours is ours_residual else 5) * 2 * SIZE**2 / 1e9)
