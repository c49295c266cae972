"""Steps on a card against the same steps on the CPU: every family, precision and optimizer."""

import functools

import pytest
import torch

from fasttrain.core.precision import DTYPES
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.stage import MicroBatch
from fasttrain.train.machine import torch_settings
from made_card import CARD, ON_CARD, nobody_waits
from parallel.made_mesh import engine, rows

pytestmark = ON_CARD
CPU = torch.device("cpu")
T, STEPS = 64, 20
SHAPE = {"vocab_size": 211, "num_layers": 2, "dim": 128, "num_heads": 2, "max_seq_len": T, "z_loss": 1e-3}
FAMILIES = {  # heads of 64: those of the kernels on tensor cores
    "llama": ModelConfig(family="llama", num_kv_heads=1, ffn_dim=192, dropout=0.1, **SHAPE),
    "qwen3": ModelConfig(family="qwen3", num_kv_heads=2, ffn_dim=192, tied_embeddings=True, **SHAPE),
    "gpt2": ModelConfig(family="gpt2", **SHAPE),  # tied as well
}
PRECISIONS = ("fp32", "bf16", "bf16_stochastic", "fp16")
EPS = {name: torch.finfo(DTYPES[name]).eps for name in PRECISIONS}
# Of two orders of summing up in fp32, Megatron-LM's bound (tests/mpi/jobs/layouts.py); and the angles of T positions,
# whose powers a card rounds otherwise.
SUMS = 4 * 1.03 ** (SHAPE["num_layers"] + 1) + T

by_family = pytest.mark.parametrize("family", FAMILIES)
by_precision = pytest.mark.parametrize("precision", PRECISIONS)
by_optimizer = pytest.mark.parametrize("optimizer", ["adamw", "muon"])
by_pairs = pytest.mark.parametrize(  # every two of the three together
    ("family", "precision", "optimizer"),
    [(f, p, ("adamw", "muon")[(i + j) % 2]) for i, f in enumerate(FAMILIES) for j, p in enumerate(PRECISIONS)],
)


@pytest.fixture(autouse=True)
def as_in_a_run():
    with torch_settings(2):
        yield


def make(family, precision, device, optimizer="adamw", **keys):
    optim = OptimConfig(name=optimizer, lr=1e-3, clip_norm=0.5)
    return engine(FAMILIES[family], optim, precision=precision, device=device, **keys)


def batch(family, device, seed=3, sizes=(1, 3)):
    """Rows of several documents, some with few targets, in micro-batches."""
    whole, start, pieces = rows(seed, [T, 40, T, 9], FAMILIES[family]), 0, []
    segments = (torch.arange(T) // 25).int().expand(4, T)
    for size in sizes:
        part = slice(start, start + size)
        on_device = {"tokens": whole.tokens, "targets": whole.targets, "segments": segments}
        moved = {name: x[part].contiguous().to(device) for name, x in on_device.items()}
        pieces.append(MicroBatch(**moved, sources=whole.sources[part], rows=whole.rows[part]))
        start += size
    return pieces


def gradients(e):
    return {name: e.flat.grad(name).double().cpu() / e.scaler.scale for name in e.plan.names}


def weights(e):
    return {name: p.detach().float().cpu() for name, p in e.stage.named.items()}


def step(e, family, number, device, sizes=(1, 3)):
    loss = e.forward_backward(batch(family, device, seed=number % 4, sizes=sizes), step=number).mean_loss
    e.update(lr=1e-3, grad_norm=e.grad_norm())
    return loss


@by_family
@by_precision
def test_loss_and_gradients_are_as_near_to_exact_as_the_cpus(family, precision):
    """Exact is fp32 on the CPU, for the same weights. What nearly cancels, queries and keys at the start, has roundings
    of what it is a difference of: the largest gradient's."""
    here, there = make(family, precision, CPU), make(family, precision, CARD)
    exact = make(family, "fp32", CPU)
    exact.load(weights(here), optimizer_steps=None)
    assert all(torch.equal(x, weights(there)[name]) for name, x in weights(here).items())
    losses = [e.forward_backward(batch(family, e.device), step=5).mean_loss for e in (exact, here, there)]
    wanted, cpus, cards = (gradients(e) for e in (exact, here, there))
    eps = SUMS * EPS["fp32"] if precision == "fp32" else EPS[precision] / 2
    assert abs(losses[2] - losses[0]) <= 2 * abs(losses[1] - losses[0]) + eps * losses[0]
    largest = max(grad.norm() for grad in wanted.values())
    for name, grad in wanted.items():
        off, cpus_off = ((found[name] - grad).norm() for found in (cards, cpus))
        assert off <= 2 * cpus_off + eps * (grad.norm() + largest), (name, off / grad.norm(), cpus_off / grad.norm())


@by_pairs
def test_an_update_has_the_bits_of_the_cpu_for_the_same_gradients(family, precision, optimizer, monkeypatch):
    """Clipping, momentum, moments, decay and stochastic rounding; of Muon all but its products (test_muon_cuda.py)."""
    monkeypatch.setattr("fasttrain.optim.muon.orthogonalize", lambda x, dtype: x.to(dtype))
    monkeypatch.setattr("fasttrain.parallel.muon.orthogonalize", lambda x, dtype: x.to(dtype))
    here, there = (make(family, precision, device, optimizer) for device in (CPU, CARD))
    for number in range(3):
        there.forward_backward(batch(family, CARD), step=number)
        for i in range(len(there.flat.buckets)):
            here.flat.bucket(i).copy_(there.flat.bucket(i))
        norms = [e.grad_norm() for e in (here, there)]
        assert norms[0] == norms[1]
        for e, norm in zip((here, there), norms):
            e.update(lr=1e-3, grad_norm=norm)
            assert e.has_finite_moments()
        found = dict(there.gather())
        for name, tensor in here.gather():
            assert torch.equal(found[name], tensor), (number, name)


@functools.cache
def losses_on_cpu(family, precision, optimizer, nudged=False):
    """Of STEPS steps; `nudged`: from weights of which each is one rounding away."""
    e = make(family, precision, CPU, optimizer)
    if nudged:
        signs = torch.randint(2, e.flat.weights.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        e.flat.weights.mul_(1 + EPS["fp32"] * signs)
    return [step(e, family, number, CPU, sizes=[4]) for number in range(STEPS)]


@by_pairs
def test_twenty_steps_go_the_way_of_the_cpus(family, precision, optimizer):
    """As near to fp32 on the CPU as the CPU's own steps in that precision come; in fp32 those of weights that begin one
    rounding off, for each rounding by which a card may differ in a step."""
    e = make(family, precision, CARD, optimizer)
    cards = [step(e, family, number, CARD, sizes=[4]) for number in range(STEPS)]
    exact = losses_on_cpu(family, "fp32", optimizer)
    theirs = losses_on_cpu(family, precision, optimizer, nudged=precision == "fp32")
    spread = max(abs(a - b) for a, b in zip(theirs, exact))
    spread *= SUMS if precision == "fp32" else 2
    for number, (ours, wanted) in enumerate(zip(cards, exact)):
        assert abs(ours - wanted) <= spread + EPS[precision] * wanted, (number, ours, wanted, spread)
    assert cards[-1] < cards[0] - 0.5, "they learn"
    assert not e.damaged()


@by_precision
@by_optimizer
def test_steps_have_the_same_bits_twice_and_with_blocks_computed_again(precision, optimizer):
    found = []
    for recompute in (0, 0, 1):
        e = make("llama", precision, CARD, optimizer, recompute=recompute)
        losses = [step(e, "llama", number, CARD) for number in range(4)]
        found.append((losses, e.flat.exact().cpu()))
    for losses, flat in found[1:]:
        assert losses == found[0][0]
        assert torch.equal(flat, found[0][1])


@by_family
def test_accumulation_with_ragged_targets_equals_the_full_batch(family):
    whole, parts = make(family, "fp32", CARD), make(family, "fp32", CARD)
    a = whole.forward_backward(batch(family, CARD, sizes=[4]), step=0)
    b = parts.forward_backward(batch(family, CARD, sizes=[1, 2, 1]), step=0)
    assert (a.num_tokens, a.tokens_by_source.tolist()) == (b.num_tokens, b.tokens_by_source.tolist())
    assert b.loss == pytest.approx(a.loss, rel=SUMS * EPS["fp32"])
    exact = gradients(whole)
    largest = max(grad.norm() for grad in exact.values())
    for name, grad in gradients(parts).items():
        assert (grad - exact[name]).norm() <= SUMS * EPS["fp32"] * (exact[name].norm() + largest), name


@by_precision
def test_the_average_of_the_weights(precision):
    """Each step rounds it three times."""
    e = make("qwen3", precision, CARD, ema_decay=0.8)
    mean = e.flat.exact().double().cpu()
    for number in range(4):
        step(e, "qwen3", number, CARD)
        mean = 0.8 * mean + 0.2 * e.flat.exact().double().cpu()
    found = {name.removeprefix("ema."): x for name, x in e.gather() if name.startswith("ema.")}
    for name, x in found.items():
        wanted = e.flat.spans[name].of(mean)
        assert (x - wanted).abs().max() <= 3 * 4 * EPS["fp32"] * wanted.abs().max(), name
    before = e.evaluate(batch("qwen3", CARD)).loss
    with e.averaged():
        assert e.evaluate(batch("qwen3", CARD)).loss != before
    assert e.evaluate(batch("qwen3", CARD)).loss == before


@by_precision
@by_optimizer
def test_a_state_goes_to_the_cpu_and_back(precision, optimizer):
    a, b = (make("llama", precision, CARD, optimizer, ema_decay=0.9) for _ in range(2))
    for number in range(3):
        step(a, "llama", number, CARD)
    tensors = {name: x.clone() for name, x in a.gather()}
    assert all(x.device == CPU for x in tensors.values())
    here = make("llama", precision, CPU, optimizer, ema_decay=0.9)
    here.load(tensors, optimizer_steps=3)
    b.load(dict(here.gather()), optimizer_steps=3)
    for e in (a, b):
        step(e, "llama", 3, CARD)
    left, right = dict(a.gather()), dict(b.gather())
    assert left.keys() == right.keys()
    assert all(torch.equal(x, right[name]) for name, x in left.items())


@by_pairs
def test_nobody_waits_for_the_card_between_the_batch_and_the_sums(family, precision, optimizer):
    """Nor in an update: the gradient's norm, by which the guard decides, is the one wait between the two."""
    e = make(family, precision, CARD, optimizer)
    micros = batch(family, CARD, sizes=[4])
    scale = e.scaler.scale / e.forward_backward(micros, step=0).num_tokens  # kernels are loaded
    e.update(lr=1e-3, grad_norm=1.0)
    with nobody_waits():
        e._descend(e._forward(micros[0], step=1), scale)  # as a step: the loss is promised that z-loss is in it
        e.update(lr=1e-3, grad_norm=1.0)
    assert not e.damaged()
