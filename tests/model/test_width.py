"""muP: what it scales, by hand, and the coordinate check: activations keep their size whatever the width."""

import math

import pytest
import torch

from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import Mesh
from fasttrain.model.config import ModelConfig
from fasttrain.model.init import initial, param_shapes
from fasttrain.model.width import attention_scale, lr_scale, output_scale, std_scale
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import MicroBatch

WIDTHS = (32, 64, 128, 256)
NUM_STEPS = 5


def config(dim, mup, **changes):
    """A model whose heads and feed-forward grow with its width."""
    settings = {"vocab_size": 64, "num_layers": 2, "dim": dim, "num_heads": dim // 16, "ffn_dim": 2 * dim,
                "max_seq_len": 16, "init_std": 0.1}  # fmt: skip
    return ModelConfig.load(settings | ({"mup_base_dim": WIDTHS[0]} if mup else {}) | changes)


def test_what_is_scaled_by_hand():
    wide = config(128, True, head_dim=64, mup_base_head_dim=16)
    for name in ("attn.wq", "attn.wk", "attn.wv", "attn.wo", "ffn.w_gate", "ffn.w_up", "ffn.w_down"):
        assert lr_scale(wide, f"blocks.1.{name}.weight") == 0.25
        assert std_scale(wide, f"blocks.1.{name}.weight") == 0.5
    for name in ("embed.weight", "positions.weight", "head.weight", "norm.weight", "blocks.0.attn.wq.bias",
                 "blocks.0.attn_norm.weight", "blocks.0.attn.q_norm.weight"):  # fmt: skip
        assert lr_scale(wide, name) == std_scale(wide, name) == 1.0
    assert output_scale(wide) == 0.25
    assert attention_scale(wide) == 4 / 64
    assert (output_scale(config(128, False)), attention_scale(config(128, False))) == (1.0, None)


def test_the_base_model_is_what_it_was():
    base, plain = config(32, True), config(32, False)
    assert attention_scale(base) == 1 / math.sqrt(16)
    assert output_scale(base) == 1.0
    for name in param_shapes(base):
        assert lr_scale(base, name) == 1.0
        assert torch.equal(initial(base, name, 3), initial(plain, name, 3))


def test_the_optimizer_has_a_group_for_each_rate():
    alone = Mesh(world=SoloGroup(), dp=SoloGroup(), tp=SoloGroup(), pp=SoloGroup(), stage=SoloGroup())
    engine = Engine(config(64, True), alone, OptimConfig(lr=0.5, weight_decay=0.25), seed=1)
    tokens = torch.arange(16)[None] % 7
    rows = MicroBatch(tokens=tokens, targets=tokens, segments=None, sources=torch.zeros_like(tokens), rows=(0,))
    engine.forward_backward([rows], step=0)
    before = {name: p.detach().clone() for name, p in engine.stage.named.items()}
    for i in range(len(engine.flat.buckets)):
        engine.flat.bucket(i).fill_(1.0)
    engine.update(lr=0.5, grad_norm=0.0)
    for name, p in engine.stage.named.items():
        # Adam's first step is the rate itself; the decay is rate times decay of what was there, at every width.
        rate = 0.25 if name.startswith("blocks") and p.ndim == 2 else 0.5
        decay = 0.5 * 0.25 if p.ndim == 2 else 0.0
        torch.testing.assert_close(p.detach(), before[name] * (1 - decay) - rate, rtol=1e-6, atol=1e-6)


def sizes_after_training(dim, mup, seed):
    """Mean absolute values of what a forward makes, after NUM_STEPS steps at one and the same learning rate."""
    alone = Mesh(world=SoloGroup(), dp=SoloGroup(), tp=SoloGroup(), pp=SoloGroup(), stage=SoloGroup())
    engine = Engine(config(dim, mup), alone, OptimConfig(lr=0.02, weight_decay=0.0, clip_norm=0.0), seed=seed)
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 64, (8, 17), generator=g)
    rows = MicroBatch(tokens=tokens[:, :-1].contiguous(), targets=tokens[:, 1:].contiguous(), segments=None,
                      sources=torch.zeros(8, 16, dtype=torch.long), rows=tuple(range(8)))  # fmt: skip
    for step in range(NUM_STEPS):
        engine.forward_backward([rows], step=step)
        engine.update(lr=0.02, grad_norm=engine.grad_norm())
    found, model = {}, engine.stage.model
    for name in ("blocks.0.attn.wq", "blocks.1.attn", "blocks.1.ffn", "blocks.1"):
        module = model.get_submodule(name)
        module.register_forward_hook(lambda m, args, y, name=name: found.__setitem__(name, y.abs().mean().log2()))
    with torch.no_grad():
        found["logits"] = model.logits(rows.tokens).abs().mean().log2()
    return torch.stack(list(found.values())), list(found)


def slopes(mup):
    """Exponent of each size in the width: least squares of log2 size on log2 width, over the mean of two seeds."""
    means = torch.stack([
        torch.stack([sizes_after_training(dim, mup, seed)[0] for seed in range(2)]).mean(0) for dim in WIDTHS
    ])  # fmt: skip
    x = torch.tensor([math.log2(dim) for dim in WIDTHS])
    x = x - x.mean()
    return dict(
        zip(sizes_after_training(WIDTHS[0], mup, 0)[1], (x @ (means - means.mean(0)) / x.square().sum()).tolist())
    )


@pytest.fixture(scope="module", name="grown")
def _grown():
    return {mup: slopes(mup) for mup in (True, False)}


def test_with_mup_no_size_grows_with_the_width(grown):
    """Sizes stay; logits may shrink, at most as their random part does, by the root of the width."""
    for name, slope in grown[True].items():
        assert (-0.5 if name == "logits" else -0.25) < slope < 0.25, (name, slope)


def test_without_mup_every_size_does(grown):
    """Adam moves each weight by the rate, so that what a matrix adds grows like its width: the exponent is near 1."""
    assert all(slope > 0.5 for slope in grown[False].values()), grown[False]
