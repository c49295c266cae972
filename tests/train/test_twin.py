"""200 steps beside a plain PyTorch twin (train/twin.py): same initial weights, same batches, token by token.

How far may the two be apart? Let w_t be the weights of exact arithmetic, for which the twin in float64 stands. A run in
fp32 or bf16 puts rounding r_s into its step s, and to first order its weights end

    e_t = sum over s < t of J_(t-1) ... J_(s+1) r_s        J_s: the derivative of exact step s by the weights

away from w_t. The J_s are the exact run's, the same for whoever trains this model on these batches: rounding k times as
large ends k times as far away. For one op k is at most 2, plus one rounding of the result: tests/nn and tests/optim
show it against torch's own ops. What the J_s make of it is measured: D_t is the distance of torch's twin, in the same
precision, from float64, the largest up to step t. So what is asked for is

    |ours - exact| <= 2 D_t + eps |exact|       of the losses, root mean square over the tokens of a batch
    |ours - twin|  <= 3 D_t + eps |exact|       of the mean loss, which follows by the triangle

Two draws of rounding of one size end at distances that differ by chance: little over a batch's hundred tokens, of which
the mean alone may cancel, and D_t is the largest so far. Mistakes that must not pass the bound are at the end.
"""

import functools
from dataclasses import replace

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

NUM_STEPS, SEED, T = 200, 11, 24
SIZES = {"vocab_size": made_run.V, "num_layers": 2, "dim": 32, "num_heads": 4, "max_seq_len": T, "z_loss": 1e-3}
OPTIM = {"lr": 3e-3, "warmup_steps": 20, "clip_norm": 0.5, "weight_decay": 0.3}
LLAMA = {"family": "llama", "num_kv_heads": 2, "ffn_dim": 48}
CASES = {
    "llama": (LLAMA, {}),
    "qwen3": ({"family": "qwen3", "num_kv_heads": 1, "head_dim": 12, "ffn_dim": 48, "tied_embeddings": True}, {}),
    "gpt2": ({"family": "gpt2", "ffn_dim": 64}, {}),
    "llama by muon": (LLAMA, {"name": "muon"}),
}
PRECISIONS = ("fp32", "bf16")
EPS = float(np.finfo(np.float32).eps)  # a loss is fp32 in either


@pytest.fixture(autouse=True)
def one_thread():
    """These shapes are tiny: threads would only wait for each other."""
    with torch_settings(1):
        yield


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Packed documents in micro-batches of 4 rows and of 2, with padding, so that no two have as many targets."""
    folder = made_run.make(tmp_path_factory.mktemp("shards"))
    config = BatchConfig(seq_len=T, global_batch=6, packing="best_fit", document_mask=True)
    order = Order(open_shards(folder.shards / "train"), {"code": 0.6, "prose": 0.4}, config)
    keys = {"size": 4, "vocab_size": made_run.V, "device": torch.device("cpu")}
    made = [training_rows(order, step, SoloGroup(), **keys).micros for step in range(NUM_STEPS)]
    assert {len(micros) for micros in made} == {2}
    assert any((micros[0].targets < 0).any() for micros in made)
    return made


def settings(case, model=None, optim=None):
    family, optimizer = CASES[case]
    return ModelConfig.load(SIZES | family | (model or {})), OptimConfig.load(OPTIM | optimizer | (optim or {}))


@pytest.fixture(scope="module")
def theirs(batches):
    """(case, precision) -> losses of each step's tokens; each twin runs once."""

    @functools.cache
    def curve(case, precision):
        config, optim = settings(case)
        twin, losses = Twin(config, optim, SEED, precision), []
        for step, micros in enumerate(batches):
            whole = (torch.cat([getattr(m, name) for m in micros]) for name in ("tokens", "targets", "segments"))
            losses.append(twin.step(*whole, learning_rate(optim, step, NUM_STEPS)))
        return losses

    return curve


def accumulate(engine, micros, step):
    return engine.forward_backward(micros, step=step)


def ours(case, precision, batches, *, model=None, optim=None, rate=1.0, change=None, forward_backward=accumulate):
    """(mean loss, loss of each token) of each step. What the keywords say are mistakes."""
    config, optim = settings(case, model, optim)
    mesh = build_mesh(SoloGroup(), LayoutConfig())
    engine = Engine(config, mesh, optim, seed=SEED, num_sources=2, precision=precision)
    if change is not None:
        change(engine.stage.model)
    tokens = []
    engine.stage.model.head.register_forward_hook(lambda _, given, out: tokens.append(out[0].detach()[given[1] >= 0]))
    for step, micros in enumerate(batches):
        sums = forward_backward(engine, micros, step)
        yield sums.mean_loss, torch.cat(tokens).double()
        tokens.clear()
        engine.update(lr=rate * learning_rate(optim, step, NUM_STEPS), grad_norm=engine.grad_norm())


def rms(x):
    return x.square().mean().sqrt().item()


def distances(curve, exact):
    return np.array([rms(x - y) for x, y in zip(curve, exact)])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_loss_curve_is_that_of_a_plain_twin(case, precision, batches, theirs):
    means, tokens = zip(*ours(case, precision, batches))
    exact, twin = theirs(case, "exact"), theirs(case, precision)
    D, rounding = bound(twin, exact)
    off, apart = distances(tokens, exact), np.abs(np.array(means) - [x.mean().item() for x in twin])
    worst = int(np.argmax(off / (2 * D + rounding)))
    assert (off <= 2 * D + rounding).all(), f"step {worst}: {off[worst]:.2e} off, D is {D[worst]:.2e}"
    assert (apart <= 3 * D + rounding).all()
    assert np.mean(means[-10:]) < means[0] - 1.0, "it must have learned something"
    print(
        f"off at most {off.max():.2e}, {(off / D).max():.2f} D; curves {apart.max():.2e} apart; D ends at {D[-1]:.2e}"
    )


def bound(twin, exact):
    """D_t and eps |exact|."""
    return np.maximum.accumulate(distances(twin, exact)), EPS * np.array([rms(x) for x in exact])


# ---- the bound has teeth: each of these mistakes must end outside of it


def mean_of_means(engine, micros, step):
    """Each micro-batch weighs the same, however many targets it has."""
    grads = []
    for micro in micros:
        sums = engine.forward_backward([micro], step=step)
        grads.append({name: engine.flat.grad(name).clone() for name in engine.plan.names})
    for name in engine.plan.names:
        engine.flat.grad(name).copy_(sum(grad[name] for grad in grads) / len(grads))
    return sums


def without_masks(engine, micros, step):
    """Documents see each other."""
    return engine.forward_backward([replace(micro, segments=None) for micro in micros], step=step)


def times_ten(path):
    """The eps of one norm."""

    def change(model):
        model.get_submodule(path).eps *= 10

    return change


WRONG = {  # the last of each: whether it is more than what bf16 rounds
    "a rate 1 % higher": ("llama", {"rate": 1.01}, True),
    "no weight decay": ("llama", {"optim": {"weight_decay": 0.0}}, True),
    "another eps of AdamW": ("llama", {"optim": {"eps": 1e-7}}, False),
    "another beta": ("llama", {"optim": {"betas": (0.9, 0.951)}}, False),
    "clipped at 2 % more": ("llama", {"optim": {"clip_norm": 0.51}}, False),
    "no z-loss": ("llama", {"model": {"z_loss": 0.0}}, False),
    "another eps of one norm": ("llama", {"change": times_ten("blocks.1.ffn_norm")}, True),
    "another eps of one head norm": ("qwen3", {"change": times_ten("blocks.1.attn.k_norm")}, False),
    "another eps of one layer norm": ("gpt2", {"change": times_ten("blocks.1.ffn_norm")}, True),
    "another momentum of Muon": ("llama by muon", {"optim": {"momentum": 0.951}}, False),
    "documents see each other": ("llama", {"forward_backward": without_masks}, True),
    "the mean of the micro-batches' means": ("llama", {"forward_backward": mean_of_means}, True),
}


@pytest.mark.parametrize(
    ("wrong", "precision"),
    [(name, precision) for precision in PRECISIONS for name in WRONG if precision == "fp32" or WRONG[name][-1]],
)
def test_a_mistake_is_seen(wrong, precision, batches, theirs):
    case, mistake, _ = WRONG[wrong]
    exact = theirs(case, "exact")
    curve = (tokens for _, tokens in ours(case, precision, batches, **mistake))
    allowed = zip(*bound(theirs(case, precision), exact))
    seen = (rms(x - y) > 2 * D + rounding for x, y, (D, rounding) in zip(curve, exact, allowed))
    step = next((step for step, is_seen in enumerate(seen) if is_seen), None)
    assert step is not None
