import math

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from fasttrain.comm.group import SoloGroup
from fasttrain.core import pages
from fasttrain.monitor.spans import Spans
from fasttrain.nn.loss import token_loss
from fasttrain.parallel.tensor import RowParallelLinear, VocabParallelEmbedding, vocab_parallel_loss
from fasttrain.parallel.wire import Wire

WIRE = Wire(SoloGroup(), Spans())


def test_equal_logits_cost_log_v():
    x, weight = torch.zeros(1, 2, 4), torch.randn(8, 4)
    nll, z2 = vocab_parallel_loss(x, weight, torch.tensor([[3, -100]]), 0, WIRE)
    torch.testing.assert_close(nll, torch.tensor([[math.log(8), 0.0]]))
    torch.testing.assert_close(z2, torch.tensor([[math.log(8) ** 2, 0.0]]))


def test_loss_and_gradients_equal_the_definition():
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 5, 6, generator=g), torch.randn(11, 6, generator=g) * 3
    targets = torch.randint(11, (2, 5), generator=g)
    targets[0, 1] = targets[1, 4] = -100
    found, expected = [], []
    for out, dtype in ((found, torch.float32), (expected, torch.float64)):
        a, w = (t.to(dtype, copy=True).requires_grad_() for t in (x, weight))
        if dtype == torch.float32:
            nll, z2 = vocab_parallel_loss(a, w, targets, 0, WIRE)
        else:
            lse = (a @ w.T).logsumexp(-1)
            picked = (a @ w.T).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
            nll, z2 = (lse - picked) * (targets >= 0), lse.square() * (targets >= 0)
        (nll.sum() + 0.1 * z2.sum()).backward()
        out += [nll, z2, a.grad, w.grad]
    for mine, true in zip(found, expected):
        torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_chunks_change_nothing_and_bound_the_memory(precision):
    g = torch.Generator().manual_seed(4)
    x, weight = torch.randn(1, 900, 16, generator=g), torch.randn(600, 16, generator=g).requires_grad_()
    targets = torch.randint(600, (1, 900), generator=g)
    dloss, results, peaks = torch.randn(1, 900, generator=g), [], []
    for num_rows in (900, 70):
        a = x.clone().requires_grad_()
        with pages.torchs(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
                nll, z2 = vocab_parallel_loss(a, weight, targets, 0, WIRE, logits_bytes=num_rows * 600 * 4)
            gradients = torch.autograd.grad([nll, z2], [a, weight], [dloss, dloss])
        results.append((nll, z2, *gradients))
        events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
        peaks.append(int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max()))
    rounding = 2.0**-8 if precision == torch.bfloat16 else 2.0**-23
    # A logit, a sum of 16 products of size 4, may differ by 16 roundings, and so may a probability; dweight's chunks
    # are rounded each.
    for one, many in zip(*results):
        assert (one - many).norm() <= 20 * rounding * one.norm()
    # Of a chunk's logits a few forms; of the weight its copy, its gradient and a chunk's part of that.
    assert peaks[1] < 70 * 600 * 12 + 3 * weight.nbytes + 10 * x.nbytes < peaks[0]


def test_huge_logits_stay_finite():
    x = torch.full((1, 1, 1), 1e38).requires_grad_()
    nll, _ = vocab_parallel_loss(x, torch.tensor([[1.0], [-1.0]]), torch.tensor([[0]]), 0, WIRE)
    nll.sum().backward()
    assert nll.item() == 0.0
    assert torch.isfinite(x.grad).all()


def test_one_slice_of_the_embedding_gives_zero_for_the_others_words():
    weight = torch.nn.Parameter(torch.arange(6.0).view(3, 2))
    embedding = VocabParallelEmbedding(weight, 4, WIRE)
    out = embedding(torch.tensor([[4, 6, 0, 7]]))
    assert out.tolist() == [[[0.0, 1.0], [4.0, 5.0], [0.0, 0.0], [0.0, 0.0]]]
    out.sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], "absent words leave no gradient"


def test_one_rank_of_the_whole_equals_the_plain_loss():
    logits = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(1))
    targets = torch.randint(9, (3, 4), generator=torch.Generator().manual_seed(2))
    for mine, plain in zip(vocab_parallel_loss(logits, torch.eye(9), targets, 0, WIRE), token_loss(logits, targets)):
        torch.testing.assert_close(mine, plain)


def test_a_bias_is_added_once_after_the_sum():
    class Two(Wire):
        """As one of two ranks that hold the same: a sum doubles."""

        def all_reduce_(self, x, op="sum"):
            return x.mul_(2)

    weight, bias = torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.tensor([10.0, 20.0, 30.0]))
    linear = RowParallelLinear(weight, bias, Two(SoloGroup(), Spans()))
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert linear(x).tolist() == [[12.0, 24.0, 36.0]]
    linear(x).sum().backward()
    assert bias.grad.tolist() == [1.0, 1.0, 1.0], "each rank has the whole gradient"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x).dtype == torch.bfloat16, "as a linear layer under autocast"
    assert RowParallelLinear(weight, None, WIRE)(x).tolist() == x.tolist()
