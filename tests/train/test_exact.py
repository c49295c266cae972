"""Bit for bit: run to run, and saved, trained on, loaded, trained on again."""

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.formats.shards import open_shards
from fasttrain.monitor.metrics import read_lines
from fasttrain.parallel.engine import Engine
from train import made_run
from train.test_loop import assert_same, final, steps

KNOWN = {"train__num_steps": 20, "checkpoint__every_steps": 10, "checkpoint__keep": 9}

STOCHASTIC = {"train__precision": "bf16_stochastic"}


@pytest.mark.parametrize("changes", [{}, {"train__precision": "bf16"}, STOCHASTIC, {"train__threads": 2}], ids=str)
def test_two_runs_have_the_same_bits(changes, tmp_path):
    one, two = made_run.make(tmp_path / "one"), made_run.make(tmp_path / "two")
    made_run.run(one, **changes)
    made_run.run(two, **changes)
    assert_same(one, two)


@pytest.mark.parametrize("changes", [{}, STOCHASTIC], ids=str)
def test_saved_ten_steps_loaded_the_same_ten_steps(changes, tmp_path):
    """The second time begins from what lies on the disk alone."""
    folder = made_run.make(tmp_path)
    made_run.run(folder, **KNOWN, **changes)
    first, told = final(folder), steps(folder)
    store.remove(folder.checkpoints, 20)
    (folder.train / "result.json").unlink()
    made_run.run(folder, **KNOWN, **changes)
    assert [line["step"] for line in read_lines(folder.metrics) if line.get("event") == "resume"] == [10]
    assert steps(folder) == told
    for name, tensor in final(folder).items():
        assert torch.equal(tensor, first[name]), name


def test_saving_is_before_evaluation(tmp_path, monkeypatch):
    """A crash of the evaluation costs no step: the checkpoint is on the disk by then, also when a thread writes it."""
    folder = made_run.make(tmp_path)

    def out_of_memory(self, micro_batches):
        raise MemoryError("evaluation")

    monkeypatch.setattr(Engine, "evaluate", out_of_memory)
    with pytest.raises(MemoryError):
        made_run.run(folder, train__eval_every=4)
    assert store.steps(folder.checkpoints) == [4]


def test_continued_pretraining_rewarms_with_a_fresh_optimizer_and_replays_by_weight(tmp_path):
    """Another run's weights, the optimizer afresh, the rate warmed up again, and old data by their mixture weight."""
    old = made_run.make(tmp_path / "old")
    made_run.run(old)
    new = made_run.make(tmp_path / "new")
    mixture = {"mixture__weights": {"code": 0.75, "prose": 0.25}}  # prose stands for the old run's data: 25 % replay
    made_run.run(
        new, train__init_from=str(old.root), optim__warmup_steps=6, guard__policy="rollback", checkpoint__keep=99,
        train__num_steps=40, **mixture,
    )  # fmt: skip
    begun = store.load(store.path_of(new.checkpoints, 0))
    assert begun.meta["optimizer_steps"] == 0
    for name, tensor in begun.tensors.items():
        was = final(old)[name]
        assert torch.equal(tensor, torch.zeros_like(was) if name.startswith("optim.") else was), name
    rates = [line["lr"] for line in steps(new)]
    assert rates[:6] == pytest.approx([1e-2 * (i + 1) / 6 for i in range(6)])
    assert [line["batch"] for line in steps(new)] == list(range(40)), "batches begin afresh"
    sequences = steps(new)[-1]["epochs"]
    shards = open_shards(new.shards / "train")
    start = next(line for line in read_lines(new.metrics) if line.get("event") == "start")
    drawn = {name: sequences[name] * start["packing"][name]["sequences"] for name in shards}
    assert drawn["prose"] / sum(drawn.values()) == pytest.approx(0.25, abs=1 / 240)
