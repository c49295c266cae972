"""Steps whose micro-batches are CUDA graphs: the bits of steps without."""

import dataclasses
import logging
import math

import pytest
import torch

from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.graph import MOST, WARM
from fasttrain.parallel.stage import MicroBatch, Stage
from fasttrain.train.machine import torch_settings
from made_card import CARD, ON_CARD
from parallel.made_mesh import engine, rows

pytestmark = ON_CARD
T, STEPS = 64, 20
SHAPE = {"vocab_size": 211, "num_layers": 2, "dim": 128, "num_heads": 2, "max_seq_len": T, "z_loss": 1e-3}
FAMILIES = {
    "llama": ModelConfig(family="llama", num_kv_heads=1, ffn_dim=192, **SHAPE),
    "qwen3": ModelConfig(family="qwen3", num_kv_heads=2, ffn_dim=192, tied_embeddings=True, **SHAPE),
    "gpt2": ModelConfig(family="gpt2", **SHAPE),
}
CUTS = {"whole": [(4,)], "two": [(2, 2)], "ragged": [(3, 1)], "changing": [(4,), (4,), (4,), (2, 2), (1, 3), (4,)]}


@pytest.fixture(autouse=True)
def as_in_a_run():
    with torch_settings(2):
        yield


def make(family="llama", precision="bf16", *, graph=True, optimizer="adamw", **keys):
    optim = OptimConfig(name=optimizer, lr=1e-3, clip_norm=0.5)
    return engine(FAMILIES[family], optim, precision=precision, device=CARD, cuda_graph=graph, **keys)


def batch(family, seed, sizes, *, documents):
    """Four rows, some with few targets, other documents in each step, in micro-batches."""
    whole, start, pieces = rows(seed, [T, 40, T, 9], FAMILIES[family]), 0, []
    segments = ((torch.arange(T) + 5 * seed) // 25).int().expand(4, T)
    for size in sizes:
        part = slice(start, start + size)
        moved = {
            "tokens": whole.tokens[part].contiguous().to(CARD),
            "targets": whole.targets[part].contiguous().to(CARD),
        }
        moved["segments"] = segments[part].contiguous().to(CARD) if documents else None
        pieces.append(MicroBatch(**moved, sources=whole.sources[part], rows=whole.rows[part]))
        start += size
    return pieces


def steps(e, family, numbers, cut="whole", *, documents=False):
    """What each step computes: its sums and the norm of its gradient."""
    found = []
    for number in numbers:
        sizes = CUTS[cut][number % len(CUTS[cut])]
        sums = e.forward_backward(batch(family, number, sizes, documents=documents), step=number)
        norm = e.grad_norm()
        e.update(lr=1e-3, grad_norm=norm)
        found.append((sums.loss, sums.z2, sums.loss_by_source.tolist(), sums.tokens_by_source.tolist(), norm))
    return found


def hold_graphs(e, number):
    assert not e._graphs._is_off
    assert len(e._graphs._captured) == number


def hold_the_bits_of_steps_without(family, precision, cut, number, documents):
    with_graphs, without = make(family, precision), make(family, precision, graph=False)
    found, wanted = (steps(e, family, range(STEPS), cut, documents=documents) for e in (with_graphs, without))
    assert found == wanted
    assert torch.equal(with_graphs.flat.exact(), without.flat.exact())
    hold_graphs(with_graphs, number)
    assert without._graphs is None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16_stochastic", "fp16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_steps_have_the_same_bits(family, precision):
    hold_the_bits_of_steps_without(family, precision, "two", 2, documents=True)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(("cut", "number"), [("whole", 1), ("two", 2), ("ragged", 2), ("changing", 5)])
def test_so_do_those_of_any_cut(cut, number, documents):
    hold_the_bits_of_steps_without("llama", "bf16", cut, number, documents)


@pytest.mark.parametrize("keys", [{"recompute": 1}, {"optimizer": "muon"}, {"bucket_bytes": 1 << 30}])
def test_so_do_those_of_other_settings(keys):
    engines = [make(graph=graph, **keys) for graph in (True, False)]
    found, wanted = (steps(e, "llama", range(8), "two", documents=True) for e in engines)
    assert found == wanted
    assert torch.equal(engines[0].flat.exact(), engines[1].flat.exact())
    hold_graphs(engines[0], 2)


def test_so_do_steps_between_evaluations_averages_and_checkpoints():
    engines, kept = [make("qwen3", graph=graph, ema_decay=0.9) for graph in (True, False)], []
    for e in engines:
        found = steps(e, "qwen3", range(5))
        saved = {name: x.clone() for name, x in e.gather()}
        with e.averaged():
            found.append(e.evaluate(batch("qwen3", 1, (4,), documents=False)).loss)
        found += steps(e, "qwen3", range(5, 8))
        e.load(saved, optimizer_steps=5)
        again = steps(e, "qwen3", range(5, 8))
        assert again == found[6:]
        kept.append((found, {name: x.clone() for name, x in e.gather()}))
    (found, tensors), (wanted, others) = kept
    assert found == wanted
    assert all(torch.equal(x, others[name]) for name, x in tensors.items())
    hold_graphs(engines[0], 1)


def test_a_step_that_is_thrown_away_leaves_nothing_behind():
    engines = [make(graph=graph) for graph in (True, False)]
    for e in engines:
        steps(e, "llama", range(4), "two")
        e.forward_backward(batch("llama", 77, (2, 2), documents=False), step=4)  # no update: the guard skips it
    found, wanted = (steps(e, "llama", range(5, 8), "two") for e in engines)
    assert found == wanted


def test_what_is_not_finite_shows_in_a_replay():
    e = make()
    steps(e, "llama", range(WARM + 2))
    hold_graphs(e, 1)
    e.stage.named["blocks.1.ffn.w_up.weight"].data[3, 5] = math.nan
    sums = e.forward_backward(batch("llama", 9, (4,), documents=False), step=9)
    assert math.isnan(sums.loss)
    assert math.isnan(e.grad_norm())
    wrong = batch("llama", 9, (4,), documents=False)[0]
    e = make()
    steps(e, "llama", range(WARM + 2))
    wrong.targets[1, 3] = FAMILIES["llama"].vocab_size
    assert math.isnan(e.forward_backward([wrong], step=9).loss), "a target that is no word"


def test_memory_does_not_grow_and_shapes_are_few():
    e = make(graph=True)
    steps(e, "llama", range(6), "two")
    torch.cuda.synchronize()
    before = torch.cuda.memory_reserved()
    steps(e, "llama", range(6, 30), "two")
    assert torch.cuda.memory_reserved() == before
    for size in range(1, 2 * MOST):
        for number in range(WARM + 1):
            whole = rows(number, [T] * size, FAMILIES["llama"])
            micro = dataclasses.replace(whole, tokens=whole.tokens.to(CARD), targets=whole.targets.to(CARD))
            e.forward_backward([micro], step=number)
    hold_graphs(e, MOST)


def test_where_capture_fails_steps_go_on_as_usual(monkeypatch, caplog):
    wanted = steps(make(graph=False), "llama", range(8), "two")
    forward, stream = Stage.forward, torch.cuda.current_stream()

    def waiting(self, micro, x, dropout):
        y = forward(self, micro, x, dropout)
        if torch.cuda.is_current_stream_capturing():
            y.sum().item()
        return y

    monkeypatch.setattr(Stage, "forward", waiting)
    e = make()
    with caplog.at_level(logging.WARNING, "fasttrain.train"):
        found = steps(e, "llama", range(8), "two")
    assert found == wanted
    assert torch.cuda.current_stream() == stream
    assert [record.message[:39] for record in caplog.records] == ["train: steps go on without a CUDA graph"]


def test_with_dropout_there_is_none():
    config = FAMILIES["llama"].model_copy(update={"dropout": 0.1})
    assert engine(config, precision="bf16", device=CARD, cuda_graph=True)._graphs is None
