"""200 steps beside a plain PyTorch twin: same initial weights, same batches, loss by loss.

How far may the curves be apart? Both round, and AdamW divides small gradients by their size, so that rounding grows
from step to step, by how much depends on the model. The engine itself shows it: trained again with noise of the size of
one backward pass's rounding (k C^(L + 1) eps of each tensor's norm, k = 4, C = 1.03; Megatron-LM's bound,
arXiv:2506.09280) on every gradient, its curve ends some distance from itself. At each step the twin may be at most 2x
as far as the farthest of four noisy runs has been up to then, and the rounding of one forward pass.
"""

import numpy as np
import pytest
import torch

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.formats.shards import open_shards
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig, learning_rate
from fasttrain.parallel.engine import Engine
from fasttrain.train.feed import training_rows
from fasttrain.train.machine import torch_settings
from train import made_run
from train.twin import Twin

NUM_STEPS, SEED, NOISY = 200, 11, 4
EPS = float(np.finfo(np.float32).eps)
OPTIM = OptimConfig(lr=3e-3, warmup_steps=20, clip_norm=0.5, weight_decay=0.1)
CPU = torch.device("cpu")


def model(**changes):
    sizes = {"vocab_size": made_run.V, "num_layers": 2, "dim": 32, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 48}
    return ModelConfig(**sizes, max_seq_len=24, z_loss=1e-3, **changes)


@pytest.fixture(autouse=True)
def one_thread():
    """These shapes are tiny: threads would only wait for each other."""
    with torch_settings(1):
        yield


@pytest.fixture(scope="module")
def order(tmp_path_factory):
    folder = made_run.make(tmp_path_factory.mktemp("shards"))
    shards = open_shards(folder.shards / "train")
    return Order(shards, {"code": 0.6, "prose": 0.4}, BatchConfig(seq_len=24, global_batch=6))


def batches(order, size):
    for index in range(NUM_STEPS):
        yield training_rows(order, index, SoloGroup(), size=size, vocab_size=made_run.V, device=CPU).micros


def engine_curve(config, order, *, noise=None):
    engine = Engine(config, build_mesh(SoloGroup(), LayoutConfig()), OPTIM, seed=SEED, num_sources=2)
    generator = torch.Generator().manual_seed(noise or 0)
    losses = []
    for step, micros in enumerate(batches(order, size=4)):
        losses.append(engine.forward_backward(micros, step=step).mean_loss)
        if noise is not None:
            for name in engine.plan.names:
                grad = engine.flat.grad(name)
                draw = torch.randn(grad.shape, generator=generator) * (grad != 0)  # an exact zero has no rounding
                bound = 4 * 1.03 ** (config.num_layers + 1) * EPS * grad.norm()
                grad += draw * (bound / draw.norm())
        engine.update(lr=learning_rate(OPTIM, step, NUM_STEPS), grad_norm=engine.grad_norm())
    return np.array(losses)


def twin_curve(config, order):
    twin = Twin(config, OPTIM, SEED)
    rates = (learning_rate(OPTIM, step, NUM_STEPS) for step in range(NUM_STEPS))
    return np.array([twin.step(m.tokens, m.targets, lr) for (m,), lr in zip(batches(order, size=0), rates)])


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_curve_is_that_of_a_plain_twin(tied, order):
    config = model(tied_embeddings=tied)
    ours, theirs = engine_curve(config, order), twin_curve(config, order)
    noisy = [np.abs(engine_curve(config, order, noise=n + 1) - ours) for n in range(NOISY)]
    bound = 2 * np.maximum.accumulate(np.max(noisy, axis=0)) + 4 * 1.03**3 * EPS * ours
    off = np.abs(ours - theirs)
    assert (off <= bound).all(), f"step {int(np.argmax(off / bound))}: {off.max():.2e} off, {bound[-1]:.2e} allowed"
    assert ours[-10:].mean() < ours[0] - 1.0, "it must have learned something"
    print(f"largest difference {off.max():.2e}, bound at the end {bound[-1]:.2e}")


@pytest.mark.slow
def test_another_rate_would_be_seen(order):
    """The test above has teeth: a rate 1 % higher is far outside its bound."""
    config = model()
    ours = engine_curve(config, order)
    noisy = [np.abs(engine_curve(config, order, noise=n + 1) - ours) for n in range(NOISY)]
    twin = Twin(config, OPTIM, SEED)
    rates = (1.01 * learning_rate(OPTIM, step, NUM_STEPS) for step in range(NUM_STEPS))
    wrong = np.array([twin.step(m.tokens, m.targets, lr) for (m,), lr in zip(batches(order, size=0), rates)])
    assert np.abs(wrong - ours).max() > 2 * np.max(noisy)
