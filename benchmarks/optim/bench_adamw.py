"""Workload: 25 M fp32 parameters, one array, one thread. Rival: torch.optim.AdamW(fused=True) 2.13, same thread count.

Both are bound by memory (28 bytes a parameter); the gate runs them in turn. A second gate, also on two threads, does
what a training step does: clip 50 M gradients by their global norm, update, and leave a bf16 copy (34 bytes a
parameter: the norm reads 4, the pass reads 16 and writes 14; torch's three calls move 46).
"""

import numpy as np
import pytest
import torch

from fasttrain.core.malloc import keep_pages
from fasttrain.optim.adamw import AdamW, adamw_
from fasttrain.optim.clip import clip_coefficient, global_norm

OP = "adamw"
SIZE, BYTES = 25_000_000, 28


def make(optimizer, size=SIZE, **keys):
    p = torch.nn.Parameter(torch.randn(size, generator=torch.Generator().manual_seed(1)))
    p.grad = torch.randn(size, generator=torch.Generator().manual_seed(2))
    return p, optimizer([p], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **keys)


def bench_adamw(benchmark, record, impl):
    torch.set_num_threads(1)
    size = SIZE // 25 if impl == "reference" else SIZE
    _, ours = make(AdamW, size, impl=impl)
    benchmark(ours.step)
    record("GB_per_s", size * BYTES / 1e9)


def bench_rival_torch_fused(benchmark, record):
    torch.set_num_threads(1)
    _, theirs = make(torch.optim.AdamW, fused=True)
    benchmark(theirs.step)
    record("GB_per_s", SIZE * BYTES / 1e9)


@pytest.mark.rival("torch AdamW(fused=True)")
def bench_gate_adamw(gate):
    """At memory speed there is little to win: the gate keeps ours from falling behind."""
    torch.set_num_threads(1)
    (p, ours), (q, theirs) = make(AdamW), make(torch.optim.AdamW, fused=True)
    for _ in range(11):
        ours.step(), theirs.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    gate(theirs.step, ours.step, at_least=0.5, runs=11)


STEP_SIZE, STEP_BYTES = 50_000_000, 34
SETTINGS = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.1}


def draw_step(threads):
    p, theirs = make(torch.optim.AdamW, STEP_SIZE, fused=True)
    ours = [p.detach().clone(), p.grad.clone(), *(torch.zeros(STEP_SIZE) for _ in range(2))]
    copies = [torch.zeros(STEP_SIZE, dtype=torch.bfloat16) for _ in range(2)]  # not empty: pages are there
    steps = iter(range(1, 10**6))

    def rivals_step():
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        theirs.step()
        copies[0].copy_(p.detach())

    def our_step():
        scale = clip_coefficient(global_norm([ours[1]]), 1.0)
        arrays, copy = (x.numpy() for x in ours), copies[1].view(torch.uint16).numpy()
        adamw_(*arrays, copy=copy, step=next(steps), grad_scale=scale, threads=threads, **SETTINGS)

    return rivals_step, our_step, p, ours[0], copies


@pytest.mark.rival("torch AdamW(fused=True), clip_grad_norm_, copy_")
@pytest.mark.parametrize("threads", [1, 2])
def bench_gate_clipped_step_with_a_bf16_copy(gate, record, threads):
    torch.set_num_threads(threads)
    keep_pages()
    rivals_step, our_step, p, q, copies = draw_step(threads)
    rivals_step(), our_step()
    np.testing.assert_allclose(q.numpy(), p.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert torch.equal(copies[1], q.bfloat16())
    gate(rivals_step, our_step, at_least=1.2, runs=9)
    record("GB_per_s", STEP_SIZE * STEP_BYTES / 1e9)


def bench_rival_copy(benchmark, record):
    """The speed of memory, by torch: a copy of fp32, 8 bytes counted of the 12 that move (what is written is read)."""
    torch.set_num_threads(1)
    x, y = torch.zeros(STEP_SIZE), torch.zeros(STEP_SIZE)
    benchmark(y.copy_, x)
    record("GB_per_s", STEP_SIZE * 8 / 1e9)
