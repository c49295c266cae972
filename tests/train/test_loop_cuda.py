"""Whole runs on a card: the same bits twice and after a resume, and the guard in front of the weights."""

import dataclasses
import math

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.eval.load import load_model
from fasttrain.monitor.metrics import read_lines
from fasttrain.parallel.engine import Engine
from made_card import CARD, ON_CARD
from train import made_run
from train.test_loop import assert_same, final, steps

pytestmark = ON_CARD
SHAPE = {"dim": 128, "ffn_dim": 192}  # heads of 64: those of the kernels on tensor cores
KINDS = {
    "fp32": {"train__precision": "fp32"},
    "bf16": {"train__precision": "bf16", "train__recompute": "block"},
    "bf16_stochastic": {"train__precision": "bf16_stochastic"},
    "fp16": {"train__precision": "fp16"},
    "muon": {"train__precision": "bf16_stochastic", "optim__name": "muon", "train__ema_decay": 0.9},
}
by_kind = pytest.mark.parametrize("kind", KINDS)


def run(folder, **changes):
    changes = {"optim__lr": 1e-3} | {f"model__{name}": value for name, value in SHAPE.items()} | changes
    return made_run.run(folder, train__device=CARD.type, **changes)


@by_kind
def test_two_runs_and_a_resumed_one_have_the_same_bits(kind, tmp_path):
    """The third begins from what lies on the disk alone, 4 steps before the end."""
    one, two = made_run.make(tmp_path / "one"), made_run.make(tmp_path / "two")
    done = run(one, **KINDS[kind])
    run(two, **KINDS[kind])
    assert_same(one, two)
    store.remove(two.checkpoints, made_run.NUM_STEPS)
    (two.train / "result.json").unlink()
    assert run(two, **KINDS[kind]) == done
    assert [line["step"] for line in read_lines(two.metrics) if line.get("event") == "resume"] == [8]
    assert_same(one, two)
    losses = [line["loss"] for line in steps(one)]
    assert losses[-1] < losses[0]
    model, _ = load_model(store.newest(one.checkpoints), device=str(CARD))
    for name, p in model.named_parameters():
        assert torch.equal(p.cpu(), final(one)[name].float()), name


@by_kind
def test_micro_batches_as_graphs_change_no_byte(kind, tmp_path):
    graphs, usual = made_run.make(tmp_path / "graphs"), made_run.make(tmp_path / "usual")
    run(graphs, model__dropout=0.0, **KINDS[kind])
    run(usual, model__dropout=0.0, train__cuda_graph="off", **KINDS[kind])
    assert_same(graphs, usual)


@by_kind
@pytest.mark.parametrize("what", ["gradient", "loss"])
def test_what_is_not_finite_never_reaches_the_weights(kind, what, monkeypatch, tmp_path):
    forward_backward, seen = Engine.forward_backward, {}

    def wrong(self, micro_batches, *, step):
        seen[step] = self.flat.exact()
        sums = forward_backward(self, micro_batches, step=step)
        if step != 3:
            return sums
        if what == "loss":
            return dataclasses.replace(sums, loss=math.nan)
        self.flat.bucket(0)[17] = math.nan
        return sums

    monkeypatch.setattr(Engine, "forward_backward", wrong)
    folder = made_run.make(tmp_path)
    run(folder, guard__policy="skip", **KINDS[kind])
    is_scaled = kind == "fp16" and what == "gradient"  # a smaller scale is tried first
    words = ["overflow" if is_scaled else "skipped"]
    assert [line["guard"] for line in steps(folder)] == ["ok"] * 3 + words + ["ok"] * 8
    assert torch.equal(seen[3], seen[4]), "the step left the weights alone"
    assert not torch.equal(seen[4], seen[5])
    assert all(torch.isfinite(x).all() for x in final(folder).values())


@pytest.mark.parametrize("where", ["optim.m", "optim.v", "weights"])
def test_a_damaged_state_is_taken_from_the_checkpoint(where, monkeypatch, tmp_path):
    clean, folder = made_run.make(tmp_path / "clean"), made_run.make(tmp_path / "damaged")
    run(clean)
    forward_backward, calls = Engine.forward_backward, [0]

    def wrong(self, micro_batches, *, step):
        calls[0] += 1
        if calls[0] == 7 and where == "weights":
            self.flat.weights[5] = math.nan
        sums = forward_backward(self, micro_batches, step=step)
        if calls[0] == 7 and where != "weights":
            self._update.moments()["mv".index(where[-1])][7] = math.inf
        return sums

    monkeypatch.setattr(Engine, "forward_backward", wrong)
    run(folder)
    assert_same(clean, folder)
    (event,) = [line for line in read_lines(folder.metrics) if line.get("event") == "repair"]
    assert (event["step"], event["from_step"]) == (4, 7)


def test_a_profiled_step(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, profile=2, train__device=CARD.type, train__precision="bf16")
    assert "optimizer" in (folder.train / "profile" / "table.txt").read_text()
