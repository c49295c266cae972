"""The engine on a card: the kernels of this project in the place of torch's."""

import dataclasses

import pytest
import torch

from fasttrain.model.config import ModelConfig
from fasttrain.parallel.stage import Stage
from fasttrain.train.machine import torch_settings
from made_card import ON_CARD
from parallel.made_mesh import engine, rows

pytestmark = ON_CARD
CONFIG = ModelConfig(
    vocab_size=307, num_layers=3, dim=256, num_heads=4, num_kv_heads=2, ffn_dim=320, max_seq_len=192, qk_norm=True
)


def batch(documents):
    micro = rows(3, [192, 150, 192, 31], CONFIG)
    segments = (torch.arange(192) // 50).int().expand(4, 192).contiguous() if documents else None
    moved = {"tokens": micro.tokens.cuda(), "targets": micro.targets.cuda()}
    return dataclasses.replace(micro, segments=None if segments is None else segments.cuda(), **moved)


def gradients(monkeypatch, precision, documents, impl=None):
    monkeypatch.delenv("FASTTRAIN_IMPL", raising=False)
    if impl is not None:
        monkeypatch.setenv("FASTTRAIN_IMPL", impl)
    e = engine(CONFIG, precision=precision, device=torch.device("cuda"))
    with torch_settings(2):  # as in a run: then attention is ours without documents too
        sums = e.forward_backward([batch(documents)], step=0)
    return e, sums.mean_loss, {name: e.flat.grad(name).double() for name in e.plan.names}


@pytest.mark.parametrize("documents", [False, True])
def test_loss_and_gradients_are_as_near_to_fp32_as_torchs(monkeypatch, documents):
    _, exact_loss, exact = gradients(monkeypatch, "fp32", documents, "torch")
    _, their_loss, theirs = gradients(monkeypatch, "bf16", documents, "torch")
    _, our_loss, ours = gradients(monkeypatch, "bf16", documents)
    eps = torch.finfo(torch.bfloat16).eps
    assert abs(our_loss - exact_loss) <= 2 * abs(their_loss - exact_loss) + eps * exact_loss / 2
    for name, grad in exact.items():
        off, their_off = ((g[name] - grad).norm() for g in (ours, theirs))
        assert off <= 2 * their_off + eps / 2 * grad.norm(), name


@pytest.mark.parametrize("documents", [False, True])
def test_norms_that_make_bf16_at_once_change_no_bit(monkeypatch, documents):
    _, loss, narrow = gradients(monkeypatch, "bf16", documents)
    monkeypatch.setattr(Stage, "_narrow_norms", lambda stage: None)
    _, other_loss, wide = gradients(monkeypatch, "bf16", documents)
    assert loss == other_loss
    for name, grad in wide.items():
        assert torch.equal(narrow[name], grad), name


def test_steps_have_the_same_bits_twice():
    def train():
        e, losses = engine(CONFIG, precision="bf16", device=torch.device("cuda")), []
        for step in range(5):
            losses.append(e.forward_backward([batch(True)], step=step).loss)
            e.update(lr=1e-3, grad_norm=e.grad_norm())
        return losses, e.flat.weights

    with torch_settings(2):
        (a, x), (b, y) = train(), train()
    assert a == b
    assert torch.equal(x, y)
    assert a[-1] < a[0]
