"""Workload: the loss of 4096 tokens, C 768, V 32000, with z-loss, bf16 products, both ways, on one thread and two.

Rivals, torch 2.13: a plain linear and `cross_entropy`, with the z-loss and without (which is less work); the chunked
`F.linear_cross_entropy` by its default options, which multiply in fp32 on a CPU, and by the fastest ones found, which
round dweight to bf16 after each chunk of 512, both without the z-loss, which it has not (with `options=None` it is the
plain one); and the three matrix products alone, in halves. Memory is kept by malloc for all.
GFLOP/s count the three products, 6 N C V. Memory is the most that torch's allocator held at one time, forward and
backward, beyond x, weight and their gradients, each in its own dtype.
"""

import pytest
import torch
import torch.nn.functional as F
from torch.nn import LinearCrossEntropyOptions
from torch.profiler import ProfilerActivity, profile

import fasttrain
from fasttrain.core import pages
from fasttrain.core.malloc import keep_pages

OP = "linear_cross_entropy"
N, C, V, Z_LOSS = 4096, 768, 32000, 1e-4


def draw(num_tokens=N, seed=1):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tokens, C, generator=g).bfloat16().requires_grad_()
    weight = (torch.randn(V, C, generator=g) * 0.03).bfloat16().requires_grad_()
    targets = torch.randint(0, V, (num_tokens,), generator=g)
    targets[:: N // 16] = -100
    return x, weight, targets


def ours(x, weight, targets, **keys):
    return fasttrain.linear_cross_entropy(x, weight, targets, **keys)


def plain(x, weight, targets, z_loss=0.0):
    logits = F.linear(x, weight)
    loss = F.cross_entropy(logits, targets)
    if z_loss:
        kept = targets != -100
        loss = loss + z_loss * (logits.float().logsumexp(-1).square() * kept).sum() / kept.sum()
    return loss


def both_ways(loss, leaves, **keys):
    value = loss(*leaves, **keys)
    return (value.detach(), *torch.autograd.grad(value, leaves[:2]))


def products(x, weight, logits):
    """A half of the tokens at a time: the whole (tokens x vocabulary) buffer would only cost the rival memory."""
    for half in x.detach().chunk(2):
        torch.mm(half, weight.detach().t(), out=logits)
        torch.mm(logits, weight.detach())
        torch.mm(logits.t(), half)


def chunked(**options):
    """torch's own, which makes gradients in forward too."""
    options = LinearCrossEntropyOptions(**options)
    return lambda x, weight, targets, z_loss: F.linear_cross_entropy(x, weight, targets, options=options)


RIVALS = {  # rival, z-loss, times its speed, turns
    "plain": (plain, Z_LOSS, 1.05, 5),
    "plain without z-loss": (plain, 0.0, 0.9, 5),
    "chunked": (chunked(), 0.0, 2.0, 2),  # turns of 6 to 8 s
    "chunked, bf16 by 512": (chunked(acc_policy="compact", batch_chunk_size=512), 0.0, 1.1, 5),
}


def bench_linear_cross_entropy(benchmark, record, impl):
    torch.set_num_threads(1)
    keep_pages()
    leaves = draw(N // 16)
    benchmark.pedantic(both_ways, (ours, leaves), {"z_loss": Z_LOSS, "impl": impl}, rounds=5, warmup_rounds=1)
    record("GFLOP_per_s", 6 * N // 16 * C * V / 1e9)


@pytest.mark.rival("torch")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rival", RIVALS)
def bench_gate_linear_cross_entropy(gate, record, rival, threads):
    torch.set_num_threads(threads)
    keep_pages()
    theirs, z_loss, at_least, turns = RIVALS[rival]
    leaves = draw()
    for x, y in zip(both_ways(ours, leaves, z_loss=z_loss), both_ways(theirs, leaves, z_loss=z_loss), strict=True):
        # In norm: roundings to bf16 of logits, of their gradient, and of the result, on both sides.
        assert (x.double() - y.double()).norm() <= 3 * torch.finfo(torch.bfloat16).eps * y.double().norm()
    gate(
        lambda: both_ways(theirs, leaves, z_loss=z_loss),
        lambda: both_ways(ours, leaves, z_loss=z_loss),
        at_least,
        runs=turns,
    )
    record("GFLOP_per_s", 6 * N * C * V / 1e9)


@pytest.mark.rival("torch, its three products")
@pytest.mark.parametrize("threads", [1, 2])
def bench_gate_products_alone(gate, record, threads):
    torch.set_num_threads(threads)
    keep_pages()
    leaves = draw()
    logits = torch.randn(N // 2, V).bfloat16()
    gate(lambda: products(*leaves[:2], logits), lambda: both_ways(ours, leaves, z_loss=Z_LOSS), 0.9, runs=5)
    record("GFLOP_per_s", 6 * N * C * V / 1e9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("x_dtype", "weight_dtype"), [("bfloat16", "bfloat16"), ("float32", "float32")])
def bench_gate_memory(benchmark, note, x_dtype, weight_dtype, threads):
    """fp32 leaves are multiplied in bf16, by autocast."""
    torch.set_num_threads(threads)
    x, weight, targets = draw()
    x, weight = (t.detach().to(getattr(torch, d)).requires_grad_() for t, d in ((x, x_dtype), (weight, weight_dtype)))

    def step():
        with torch.autocast("cpu", torch.bfloat16):
            loss = ours(x, weight, targets, z_loss=Z_LOSS)
        loss.backward()

    with pages.torchs(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        benchmark.pedantic(step, rounds=1)
    held = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    extra = (highest - x.nbytes - weight.nbytes) / 2**20
    note("extra_MiB", extra)
    note("at_most", 64)
    assert extra <= 64
