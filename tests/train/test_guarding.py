"""Spikes and NaN put into a run's gradients and losses, and what each policy makes of them."""

import dataclasses
import math

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import FasttrainError
from fasttrain.monitor.metrics import read_lines
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import Stage
from fasttrain.train.result import TrainingHalted
from train import made_run
from train.test_loop import assert_same, final, killing, steps

BAD = 9  # batch; the guard has seen 8 good values by then


@pytest.fixture
def inject(monkeypatch):
    """inject(what, batches): when such a batch is computed, its gradient or loss goes wrong; gives the weights."""
    forward_backward, seen = Engine.forward_backward, {}

    def install(what, batches):
        def wrong(self, micro_batches, *, step):
            weights = {name: p.detach().clone() for name, p in self.stage.named.items()}
            seen.setdefault(step, []).append(weights)
            sums = forward_backward(self, micro_batches, step=step)
            if step not in batches:
                return sums
            if what == "nan gradient":
                self.flat.bucket(0)[17] = math.nan
            elif what == "inf gradient":
                self.flat.bucket(-1)[-1] = math.inf
            elif what == "nan loss":
                return dataclasses.replace(sums, loss=math.nan)
            elif what == "gradient spike":
                [self.flat.bucket(i).mul_(1e4) for i in range(len(self.flat.buckets))]
            elif what == "loss spike":
                return dataclasses.replace(sums, loss=sums.loss * 3)
            return sums

        monkeypatch.setattr(Engine, "forward_backward", wrong)
        return seen

    return install


def words(folder):
    return [line["guard"] for line in steps(folder)]


def events(folder, name):
    return [line for line in read_lines(folder.metrics) if line.get("event") == name]


def same(weights, others):
    return all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


def assert_finite(folder):
    for name, tensor in final(folder).items():
        assert torch.isfinite(tensor).all(), name


@pytest.mark.parametrize("policy", ["log", "skip"])
@pytest.mark.parametrize("what", ["nan gradient", "inf gradient", "nan loss"])
def test_what_is_not_finite_never_reaches_the_weights(what, policy, inject, tmp_path):
    folder = made_run.make(tmp_path)
    seen = inject(what, {3})
    made_run.run(folder, guard__policy=policy)
    assert words(folder) == ["ok"] * 3 + ["skipped"] + ["ok"] * 8
    assert same(seen[3][0], seen[4][0]), "the step left the weights alone"
    assert_finite(folder)
    assert store.load(store.newest(folder.checkpoints)).meta["optimizer_steps"] == 11
    line = steps(folder)[3]
    assert line["guard_reason"] == ("non-finite loss" if what == "nan loss" else "non-finite gradient norm")


@pytest.mark.parametrize("what", ["gradient spike", "loss spike"])
@pytest.mark.parametrize(("policy", "word", "moves"), [("log", "logged", True), ("skip", "skipped", False)])
def test_a_spike_is_logged_or_skipped(what, policy, word, moves, inject, tmp_path):
    folder = made_run.make(tmp_path)
    seen = inject(what, {BAD})
    made_run.run(folder, guard__policy=policy)
    assert words(folder) == ["ok"] * BAD + [word] + ["ok"] * 2
    assert same(seen[BAD][0], seen[BAD + 1][0]) is not moves
    line = steps(folder)[BAD]
    assert line["batch"] == BAD, "its documents can be looked up"
    assert max(line["loss_z"], line["norm_z"]) > 8


@pytest.mark.parametrize("what", ["gradient spike", "nan gradient"])
def test_a_spike_rolls_back_and_its_batches_are_skipped(what, inject, tmp_path):
    folder = made_run.make(tmp_path)
    seen = inject(what, {BAD})
    result = made_run.run(folder, guard__policy="rollback", guard__skip_after=2)
    assert result.is_finished
    # batch 8 is done again from the checkpoint of step 8; 9 (flagged), 10 and 11 are left out
    assert [line["batch"] for line in steps(folder)] == [*range(9), 12, 13, 14]
    assert [line["step"] for line in steps(folder)] == list(range(1, 13)), "each step is told once"
    assert same(seen[8][0], seen[8][1]), "the same weights as before"
    (event,) = events(folder, "rollback")
    assert (event["step"], event["from_step"], event["batch"], event["skips"]) == (8, 10, 9, [[9, 12]])
    meta = store.load(store.newest(folder.checkpoints)).meta
    assert meta["guard"]["skips"] == [[9, 12]]
    assert_finite(folder)


def test_a_roll_back_to_the_very_start(inject, tmp_path):
    folder = made_run.make(tmp_path)
    inject("nan gradient", {2})
    made_run.run(folder, guard__policy="rollback", guard__skip_after=0)
    assert [line["batch"] for line in steps(folder)] == [0, 1, *range(3, 13)]
    assert events(folder, "rollback")[0]["step"] == 0


def test_two_spikes_behind_one_checkpoint(inject, tmp_path):
    folder = made_run.make(tmp_path)
    inject("nan gradient", {9, 11})
    made_run.run(folder, guard__policy="rollback", guard__skip_after=0)
    assert [line["batch"] for line in steps(folder)] == [*range(9), 10, 12, 13]
    assert [event["skips"] for event in events(folder, "rollback")] == [[[9, 10]], [[9, 10], [11, 12]]]


def test_killed_after_a_roll_back_it_ends_with_the_same_bits(inject, tmp_path, monkeypatch):
    whole, broken = made_run.make(tmp_path / "whole"), made_run.make(tmp_path / "broken")
    inject("gradient spike", {BAD})
    made_run.run(whole, guard__policy="rollback")
    with killing(monkeypatch, Engine, "update", 11):  # 9 updates before the spike, then two of steps 9 and 10
        made_run.run(broken, guard__policy="rollback")
    made_run.run(broken, guard__policy="rollback")
    assert_same(whole, broken)


def test_rolling_back_for_ever_halts(inject, tmp_path):
    folder = made_run.make(tmp_path)
    inject("nan gradient", set(range(5, 500)))
    with pytest.raises(TrainingHalted, match="again after 3 returns to step 4"):
        made_run.run(folder, guard__policy="rollback", guard__max_consecutive=3)


@pytest.mark.parametrize("what", ["gradient spike", "nan loss"])
def test_halt_saves_the_weights_before_the_spike(what, inject, tmp_path):
    folder = made_run.make(tmp_path)
    seen = inject(what, {BAD})
    with pytest.raises(TrainingHalted, match=r"halted at step 10 by the guard: .*batch 9.*audit --step 10"):
        made_run.run(folder, guard__policy="halt")
    checkpoint = store.load(store.newest(folder.checkpoints))
    assert checkpoint.step == 9
    assert same(seen[BAD][0], checkpoint.tensors)
    assert len(events(folder, "halt")) == 1


@pytest.mark.parametrize(("policy", "word"), [("skip", "skipped"), ("log", "logged")])
def test_a_halted_run_goes_on_under_another_policy(policy, word, inject, tmp_path):
    folder = made_run.make(tmp_path)
    inject("gradient spike", {BAD})
    with pytest.raises(TrainingHalted, match="start again with another guard to go on"):
        made_run.run(folder, guard__policy="halt")
    assert made_run.run(folder, guard__policy=policy).is_finished
    assert words(folder) == ["ok"] * BAD + [word] + ["ok"] * 2
    told = [line["guard"]["policy"] for line in read_lines(folder.metrics) if line.get("event") in ("start", "resume")]
    assert told == ["halt", policy]


def test_too_many_bad_steps_in_a_row_halt(inject, tmp_path):
    folder = made_run.make(tmp_path)
    inject("nan gradient", set(range(3, 12)))
    with pytest.raises(TrainingHalted, match="3 flagged steps in a row"):
        made_run.run(folder, guard__policy="skip", guard__max_consecutive=2)
    assert_finite(folder)


# ---- the state itself, the data, the forward pass

PLACES = ["optim.m", "optim.v", "weights"]


def break_state(monkeypatch, where, value, at_update):
    """Before an update one number of the optimizer's state (or of the weights, before the step) goes bad once."""
    forward_backward, calls = Engine.forward_backward, [0]

    def wrong(self, micro_batches, *, step):
        calls[0] += 1
        hit = calls[0] == at_update
        if hit and where == "weights":
            self.flat.weights[5] = value
        sums = forward_backward(self, micro_batches, step=step)
        if hit and where != "weights":
            self._update.moments()["mv".index(where[-1])][7] = value
        return sums

    monkeypatch.setattr(Engine, "forward_backward", wrong)


@pytest.mark.parametrize("policy", ["log", "skip", "rollback"])
@pytest.mark.parametrize(("where", "value"), [(w, v) for w in PLACES for v in (math.nan, math.inf)])
def test_a_damaged_state_is_taken_from_the_checkpoint_and_no_batch_is_blamed(
    where, value, policy, clean, tmp_path, monkeypatch
):
    folder = made_run.make(tmp_path)
    break_state(monkeypatch, where, value, at_update=7)
    made_run.run(folder, guard__policy=policy)
    assert_same(folder, clean[policy])
    (event,) = events(folder, "repair")
    assert (event["step"], event["from_step"], event["skips"]) == (4, 7, [])
    assert event["reason"].endswith("is not finite")
    if where != "weights":
        assert event["reason"].startswith(where)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Unbroken runs by policy."""
    folders = {}
    for policy in ("log", "skip", "rollback"):
        folders[policy] = made_run.make(tmp_path_factory.mktemp(policy))
        made_run.run(folders[policy], guard__policy=policy)
    return folders


def test_a_damaged_state_without_a_checkpoint_halts_and_is_not_saved(tmp_path, monkeypatch):
    folder = made_run.make(tmp_path)
    break_state(monkeypatch, "optim.v", math.nan, at_update=2)
    with pytest.raises(TrainingHalted, match=r"optim.v.* is not finite"):
        made_run.run(folder, guard__policy="skip")
    assert store.steps(folder.checkpoints) == []


def test_a_state_that_is_not_finite_is_never_saved(tmp_path, monkeypatch):
    folder, update = made_run.make(tmp_path), Engine.update

    def wrong(self, **kwargs):
        update(self, **kwargs)
        if self.optimizer_steps == 8:
            self.flat.weights[3] = math.nan

    monkeypatch.setattr(Engine, "update", wrong)
    with pytest.raises(FasttrainError, match=r"is not finite after step 8 and is not saved; start again"):
        made_run.run(folder)
    assert store.steps(folder.checkpoints) == [4]
    monkeypatch.setattr(Engine, "update", update)
    assert made_run.run(folder).is_finished


@pytest.mark.parametrize(("policy", "word"), [("log", "skipped"), ("skip", "skipped"), ("rollback", None)])
def test_a_damaged_shard_costs_the_batches_that_hold_the_damage(policy, word, tmp_path):
    folder = made_run.make(tmp_path)
    path = folder.shards / "train" / "prose" / "tokens.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:600] + b"\xff\xff" + whole[602:])  # token 300
    found = made_run.run(folder, guard__policy=policy, guard__skip_after=0, train__num_steps=24)
    assert found.is_finished
    assert_finite(folder)
    told = steps(folder)
    if word is None:
        (event,) = events(folder, "rollback")
        assert event["reason"] == "damaged batch: token 65535 of prose is not below the vocabulary of 61"
        assert event["skips"] == [[event["batch"], event["batch"] + 1]]
        assert event["batch"] not in [line["batch"] for line in told]
        assert [line["guard"] for line in told] == ["ok"] * 24
    else:
        bad = [line for line in told if line["guard"] != "ok"]
        assert {line["guard"] for line in bad} == {word}
        assert all("damaged batch: token 65535 of prose" in line["guard_reason"] for line in bad)
        assert 1 <= len(bad) <= 2


def test_garbage_instead_of_text_is_a_spike_of_the_loss(tmp_path, monkeypatch):
    folder, forward_backward = made_run.make(tmp_path), Engine.forward_backward

    def wrong(self, micro_batches, *, step):
        if step == 30:
            made = torch.Generator().manual_seed(1)
            micro_batches = [
                dataclasses.replace(m, targets=torch.randint(1, 5, m.targets.shape, generator=made))
                for m in micro_batches
            ]
        return forward_backward(self, micro_batches, step=step)

    monkeypatch.setattr(Engine, "forward_backward", wrong)
    made_run.run(folder, guard__policy="rollback", guard__skip_after=1, train__num_steps=40, train__eval_every=0)
    (event,) = events(folder, "rollback")
    assert event["skips"] == [[30, 32]]
    assert not {30, 31} & {line["batch"] for line in steps(folder)}


@pytest.mark.parametrize(
    ("value", "reason"), [(math.nan, "non-finite"), (math.inf, "non-finite"), (30.0, "spike of the")]
)
def test_what_goes_wrong_in_the_forward_pass_is_caught(value, reason, tmp_path, monkeypatch):
    folder, forward = made_run.make(tmp_path), Stage.forward

    def wrong(self, micro, x, dropout):
        y = forward(self, micro, x, dropout)
        is_bad = dropout is not None and dropout.step == BAD and 0 in micro.rows
        return y * value if is_bad else y

    monkeypatch.setattr(Stage, "forward", wrong)
    made_run.run(folder, guard__policy="rollback", guard__skip_after=0)
    (event,) = events(folder, "rollback")
    assert event["reason"].startswith(reason)
    assert (event["batch"], event["skips"]) == (BAD, [[BAD, BAD + 1]])
    assert_finite(folder)
