"""Going on from another run's checkpoint with its optimizer: the decay branch of wsd, from any of its checkpoints."""

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError
from fasttrain.monitor.metrics import read_lines
from fasttrain.parallel.engine import Engine
from train import made_run
from train.test_loop import assert_same, final, killing, steps

STABLE = {"optim__schedule": "constant", "optim__lr": 1e-2, "guard__warmup_steps": 8}
DECAY = {"optim__schedule": "wsd", "optim__decay_fraction": 1.0, "optim__warmup_steps": 0}


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    """12 steps at one rate; checkpoints of steps 4, 8 and 12."""
    folder = made_run.make(tmp_path_factory.mktemp("stable"))
    made_run.run(folder, checkpoint__keep=9, **STABLE)
    return folder


def branch(root, source, step, num_steps, **changes):
    folder = made_run.make(root)
    path = store.path_of(source.checkpoints, step)
    known = {"train__init_from": str(path), "train__init_optimizer": True, "train__num_steps": num_steps}
    made_run.run(folder, **STABLE | DECAY | known | changes)
    return folder


@pytest.mark.parametrize("step", [4, 8])
def test_a_branch_is_the_run_that_had_decayed_there_bit_for_bit(step, stable, tmp_path):
    whole = made_run.make(tmp_path / "whole")
    length = made_run.NUM_STEPS - step
    made_run.run(whole, **STABLE | {"optim__schedule": "wsd", "optim__decay_steps": length})
    decayed = branch(tmp_path / "branch", stable, step, length)
    theirs, mine = final(whole), final(decayed)
    for name in theirs:
        assert torch.equal(theirs[name], mine[name]), name
    told = [[(line["batch"], line["loss"], line["lr"]) for line in steps(f)] for f in (whole, decayed)]
    assert told[0][step:] == told[1]
    assert [line["step"] for line in steps(decayed)] == list(range(1, length + 1)), "its own count"
    (start,) = [line for line in read_lines(decayed.metrics) if line.get("event") == "start"]
    assert (start["init_step"], start["init_optimizer"], start["init_same_data"]) == (step, True, True)


def test_a_branch_that_was_killed_ends_alike(stable, tmp_path, monkeypatch):
    whole = branch(tmp_path / "whole", stable, 8, 6, checkpoint__every_steps=2)
    with killing(monkeypatch, Engine, "update", 5):
        branch(tmp_path / "broken", stable, 8, 6, checkpoint__every_steps=2)
    assert_same(whole, branch(tmp_path / "broken", stable, 8, 6, checkpoint__every_steps=2))


def test_a_branch_of_a_branch(stable, tmp_path):
    first = branch(tmp_path / "first", stable, 4, 3, optim__schedule="constant")
    second = branch(tmp_path / "second", first, 3, 2)
    assert [line["batch"] for line in steps(second)] == [7, 8]


def test_other_data_begin_with_their_first_batch_and_a_fresh_guard(stable, tmp_path):
    folder = branch(tmp_path, stable, 8, 4, batch__seed=5)
    assert [line["batch"] for line in steps(folder)] == [0, 1, 2, 3]
    meta = store.load(store.newest(folder.checkpoints)).meta
    assert meta["optimizer_steps"] == 12, "the optimizer goes on"
    assert len(meta["guard"]["losses"]) == 4, "the window knows only the losses of these data"


def test_a_jump_of_the_rate_is_warned_of(stable, tmp_path, caplog):
    branch(tmp_path / "jump", stable, 8, 2, optim__lr=0.05)
    assert "the rate goes from 0.01" in caplog.text
    caplog.clear()
    branch(tmp_path / "none", stable, 8, 2)
    assert "the rate goes" not in caplog.text


def test_an_optimizer_from_nowhere_is_refused():
    with pytest.raises(ConfigError, match="init_optimizer needs init_from"):
        made_run.settings(train__init_optimizer=True)
