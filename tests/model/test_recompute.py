"""Blocks that are computed again in backward: the same bits, and less memory."""

from itertools import accumulate

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from fasttrain.core import pages
from fasttrain.core.errors import ConfigError
from fasttrain.estimate.memory import activation_bytes, recomputed_bytes
from fasttrain.model.config import ModelConfig
from fasttrain.model.init import init_
from fasttrain.model.recompute import _run_apart, every
from fasttrain.model.transformer import Transformer
from fasttrain.nn.dropout import DropoutKey
from fasttrain.train.config import TrainConfig

BASE = {
    "vocab_size": 97,
    "num_layers": 5,
    "dim": 32,
    "num_heads": 4,
    "num_kv_heads": 2,
    "dropout": 0.2,
    "max_seq_len": 64,
}
MODELS = {
    "llama": BASE,
    "qwen3, tied": BASE | {"family": "qwen3", "tied_embeddings": True},
    "gpt2": BASE | {"family": "gpt2", "num_kv_heads": None},
}


def gradients(model, recompute, precision):
    g = torch.Generator().manual_seed(1)
    tokens, targets = (torch.randint(0, 97, (3, 33), generator=g) for _ in range(2))
    segments = (torch.arange(33) > 20).to(torch.int32).expand(3, 33).contiguous()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        key = DropoutKey(seed=1, step=4, rows=(0, 1, 2))
        context = model.context(33, segments=segments, dropout=key, recompute=recompute)
        nll, z2 = model(tokens, targets, context=context)
    (nll.mean() + 1e-3 * z2.mean()).backward()
    return [nll.detach(), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_the_same(name, recompute, precision):
    model = init_(Transformer(ModelConfig.load(MODELS[name])), 3)
    plain, again = (gradients(model, k, precision) for k in (0, recompute))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [0, 1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_sums_left_to_the_norm_behind_as_on_a_card_have_the_same_bits(name, recompute, precision, monkeypatch):
    model = init_(Transformer(ModelConfig.load(MODELS[name])), 3)
    whole = gradients(model, 0, precision)
    monkeypatch.setattr("fasttrain.model.transformer.run_to_norm", _run_apart)
    apart = gradients(model, recompute, precision)
    assert all(torch.equal(a, b) for a, b in zip(whole, apart, strict=True))


@pytest.mark.parametrize(("recompute", "blocks"), [(0, 5), (1, 10), (2, 8), (3, 7), (9, 6)])
def test_only_the_named_blocks_run_twice(recompute, blocks):
    model, ran = init_(Transformer(ModelConfig.load(BASE)), 3), []
    for block in model.blocks:
        block.attn.register_forward_hook(lambda module, args, y: ran.append(module.layer))
    gradients(model, recompute, "fp32")
    assert len(ran) == blocks
    ran.clear()
    with torch.no_grad():
        model(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long))
    assert len(ran) == 5


def test_settings():
    def train(value):
        return TrainConfig.load({"num_steps": 1, "recompute": value}, where="train").recompute

    assert [every(train(value)) for value in ("none", "block", 1, 4)] == [0, 1, 1, 4]
    with pytest.raises(ConfigError, match="train: recompute must be 'none', 'block' or at least 1, got 0"):
        train(0)
    with pytest.raises(ConfigError, match="train.recompute"):
        train("all")


def peak_bytes(model, tokens, recompute):
    """Greatest size of what torch held during a forward and backward, beside what was there before."""
    model.zero_grad()
    with pages.torchs(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        nll, _ = model(tokens, tokens, context=model.context(tokens.shape[1], recompute=recompute))
        nll.mean().backward()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


@pytest.mark.parametrize(("recompute", "blocks"), [(1, 12), (2, 6), (3, 4)])
def test_memory_is_what_the_estimate_says(recompute, blocks):
    config = ModelConfig.load({"vocab_size": 32, "num_layers": 12, "dim": 64, "num_heads": 4, "ffn_dim": 192})
    model, tokens = init_(Transformer(config), 0), torch.zeros(4, 128, dtype=torch.long)
    saved = peak_bytes(model, tokens, 0) - peak_bytes(model, tokens, recompute)
    layer, inputs = activation_bytes(config, 512, "fp32"), blocks * recomputed_bytes(config, 512)
    # What the blocks would have kept, which `layer` bounds closely from above, but for the one that backward may be in.
    assert 0.8 * ((blocks - 1) * layer - inputs) <= saved <= blocks * layer - inputs
