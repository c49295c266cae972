import math

import pytest
import torch
import torch.nn.functional as F

from fasttrain.nn.dropout import DropoutKey, dropout
from fasttrain.nn.loss import token_loss
from fasttrain.nn.rms_norm import RMSNorm, rms_norm
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.segments import key_ranges
from fasttrain.nn.swiglu import swiglu


@pytest.mark.parametrize("shape", [(5,), (0, 5), (3, 5), (2, 3, 64)])
def test_rms_norm_and_its_gradient(shape):
    g = torch.Generator().manual_seed(3)
    x, dy = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    weight = torch.randn(shape[-1], generator=g, dtype=torch.float64)
    leaves = [t.float().requires_grad_() for t in (x, weight)]
    rms_norm(*leaves, 1e-5).backward(dy.float())
    exact = [t.clone().requires_grad_() for t in (x, weight)]
    out = F.rms_norm(exact[0], shape[-1:], exact[1], 1e-5)
    out.backward(dy)
    torch.testing.assert_close(rms_norm(*leaves, 1e-5).double(), out, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(leaves, exact):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-5)


def test_rms_norm_by_hand_and_in_bfloat16():
    x = torch.tensor([3.0, 4.0])  # mean square 12.5
    torch.testing.assert_close(rms_norm(x, torch.ones(2), 0.0), x / math.sqrt(12.5))
    y = RMSNorm(64)(torch.randn(4, 64).bfloat16())
    assert y.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"weight must have shape \(2,\), got \(3,\)"):
        rms_norm(x, torch.ones(3), 0.0)


def test_rope_by_hand_and_relative():
    cos, sin = rope_tables(positions(4), 2, theta=10_000.0)
    x = torch.tensor([1.0, 0.0]).expand(1, 4, 1, 2)
    turned = rope(x, cos, sin)
    angle = torch.arange(4.0)
    torch.testing.assert_close(turned[0, :, 0], torch.stack((angle.cos(), angle.sin()), -1))
    torch.testing.assert_close((turned[0, 3] * turned[0, 1]).sum(), torch.tensor(2.0).cos())  # depends on 3 - 1 alone
    with pytest.raises(ValueError, match="head_dim must be even, got 3"):
        rope_tables(positions(4), 3, 1e4)


def test_positions_restart_with_each_document():
    segments = torch.tensor([[5, 5, 5, 2, 2, 5], [1, 2, 3, 3, -1, -1]], dtype=torch.int32)
    assert positions(6, segments).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 0, 1]]
    assert positions(3, start=4).tolist() == [[4, 5, 6]]
    assert positions(0, segments[:, :0]).shape == (2, 0)


def test_key_ranges_by_hand():
    segments = torch.tensor([[5, 5, 2, -1]], dtype=torch.int32)
    lo, hi = key_ranges(4, 4, causal=True, segments=segments)
    assert (lo.tolist(), hi.tolist()) == ([[0, 0, 2, 0]], [[1, 2, 3, 0]])
    lo, hi = key_ranges(4, 4, causal=False, segments=segments)
    assert (lo.tolist(), hi.tolist()) == ([[0, 0, 2, 0]], [[2, 2, 3, 0]])
    lo, hi = key_ranges(2, 5, causal=True)
    assert (lo.tolist(), hi.tolist()) == ([[0, 0]], [[4, 5]])


def test_swiglu_by_hand():
    gate = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(swiglu(gate, torch.tensor([5.0, 2.0])), torch.tensor([0.0, 2.0 / (1 + math.exp(-1))]))


def test_dropout_keeps_the_expected_part_and_the_mean():
    key = DropoutKey(seed=1, step=2, rows=(3, 4))
    y = dropout(torch.ones(2, 100, 100), 0.25, key, layer=0, site="attn")
    kept = (y != 0).double().mean().item()
    assert abs(kept - 0.75) < 4 * math.sqrt(0.75 * 0.25 / y.numel())  # four sigma
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    for other in (
        dropout(torch.ones(2, 100, 100), 0.25, key, layer=1, site="attn"),
        dropout(torch.ones(2, 100, 100), 0.25, key, layer=0, site="ffn"),
        y.flip(0),
    ):
        assert not torch.equal(other, y)
    assert dropout(y, 0.0, key, 0, "attn") is y
    assert dropout(y, 0.5, None, 0, "attn") is y
    with pytest.raises(ValueError, match="one index for each of the 2 rows, got 1"):
        dropout(y, 0.5, DropoutKey(seed=1, step=2, rows=(3,)), 0, "attn")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_token_loss_and_its_gradient(dtype):
    g = torch.Generator().manual_seed(9)
    logits = (4 * torch.randn(2, 7, 50, generator=g)).to(dtype)
    targets = torch.randint(0, 50, (2, 7), generator=g)
    targets[0, 2:4] = -100
    leaf, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    nll, z2 = token_loss(leaf, targets)
    (nll + 1e-2 * z2).sum().backward()
    expected = F.cross_entropy(exact.transpose(1, 2), targets, reduction="none")
    expected_z2 = exact.logsumexp(-1).square() * (targets != -100)
    (expected + 1e-2 * expected_z2).sum().backward()
    torch.testing.assert_close(nll.double(), expected, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(z2.double(), expected_z2, rtol=1e-6, atol=2e-6)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(leaf.grad.double(), exact.grad, rtol=torch.finfo(dtype).eps, atol=1e-6)
    assert torch.equal(leaf.grad[0, 2:4], torch.zeros_like(leaf.grad[0, 2:4]))
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 7\), got \(2, 6\)"):
        token_loss(logits, targets[:, :6])
