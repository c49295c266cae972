"""`train.loop.run` on two ranks: resume on the same and on another layout, SIGTERM and NaN on one rank alone."""

import math
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fasttrain.checkpoint import store
from fasttrain.comm.group import SoloGroup, world
from fasttrain.monitor.metrics import read_lines
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import Stage
from fasttrain.train import loop
from fasttrain.train.feed import Rows
from fasttrain.train.state import Keeper
from train import made_run

EVERYONE = world()
DATA, TENSOR, PIPE = ({f"layout__{axis}": 2} for axis in ("dp", "tp", "pp"))
# Losses of two layouts: each step may add one bound of tests/mpi/jobs/layouts.py (2 layers).
LOSS_BOUND = made_run.NUM_STEPS * 4 * 1.03**3 * float(np.finfo(np.float32).eps)


def make(name):
    if EVERYONE.is_root:
        made_run.make(Path(sys.argv[1]) / name)
    EVERYONE.barrier()
    return made_run.RunFolder(Path(sys.argv[1]) / name)


def final(folder):
    return dict(store.load(store.newest(folder.checkpoints)).tensors.items())


def steps(folder):
    return [line for line in read_lines(folder.metrics) if "event" not in line]


def assert_equal(a, b):
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), f"{name} differs"


def stop_at(step):
    """SIGTERM to the last rank alone after `step` updates; all of them must stop."""
    update = Engine.update

    def and_signal(self, **kwargs):
        update(self, **kwargs)
        if self.optimizer_steps == step and EVERYONE.rank == EVERYONE.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    Engine.update = and_signal
    return update


def stopped(name, **layout):
    """A run that was asked to stop after step 6."""
    folder = make(name)
    update = stop_at(6)
    result = made_run.run(folder, EVERYONE, **layout)
    Engine.update = update
    assert result.step == 6, result
    assert EVERYONE.allgather(result) == [result] * EVERYONE.size
    return folder


def check_same_layout(name, **layout):
    whole, broken = make(f"{name}-whole"), stopped(f"{name}-broken", **layout)
    result = made_run.run(whole, EVERYONE, **layout)
    assert made_run.run(broken, EVERYONE, **layout) == result
    assert EVERYONE.allgather(result) == [result] * EVERYONE.size
    assert_equal(final(whole), final(broken))
    told = [[(line["step"], line["loss"], line["grad_norm"]) for line in steps(f)] for f in (whole, broken)]
    assert told[0] == told[1]
    return whole


def check_other_layout(name, expected, before, after, group=EVERYONE):
    """What is loaded is what was saved, bit for bit; what follows is the same run but for rounding."""
    folder = stopped(name, **before)
    if EVERYONE.rank < group.size:
        saved, load = final(folder), Keeper.load
        seen = {}

        def and_look(self, step, engine, guard, state):
            load(self, step, engine, guard, state)
            seen.update({n: t.clone() for n, t in engine.gather()})

        Keeper.load = and_look
        result = made_run.run(folder, group, **after)
        Keeper.load = load
        assert result.is_finished
        shares = group.allgather({name: tensor.numpy() for name, tensor in seen.items()})
        loaded = {name: torch.from_numpy(array) for share in shares for name, array in share.items()}
        assert loaded.keys() == saved.keys()
        assert_equal(saved, loaded)
    EVERYONE.barrier()
    for mine, theirs in zip(steps(folder), steps(expected), strict=True):
        assert (mine["step"], mine["batch"], mine["tokens"]) == (theirs["step"], theirs["batch"], theirs["tokens"])
        for key in ("loss", "val_loss"):
            if key in mine:
                off = abs(mine[key] / theirs[key] - 1)
                assert off <= LOSS_BOUND, f"{name}: {key} of step {mine['step']} is {off:.1e} off"


def check_nan_on_one_rank(name, **layout):
    """Only the last rank sees it, nobody applies it."""
    folder, forward_backward = make(name), Engine.forward_backward

    def wrong(self, micro_batches, *, step):
        sums = forward_backward(self, micro_batches, step=step)
        if step == 3 and EVERYONE.rank == EVERYONE.size - 1:
            self.flat.bucket(-1)[-1] = math.nan
        return sums

    Engine.forward_backward = wrong
    made_run.run(folder, EVERYONE, **layout)
    Engine.forward_backward = forward_backward
    assert [line["guard"] for line in steps(folder)] == ["ok"] * 3 + ["skipped"] + ["ok"] * 8
    assert all(torch.isfinite(t).all() for t in final(folder).values())


LAST = EVERYONE.size - 1


def check_forward_on_one_rank(name, **layout):
    """A NaN in the last rank's activations alone."""
    folder, forward = make(name), Stage.forward

    def wrong(self, micro, x, dropout):
        y = forward(self, micro, x, dropout)
        return y * math.nan if EVERYONE.rank == LAST and dropout is not None and dropout.step == 3 else y

    Stage.forward = wrong
    made_run.run(folder, EVERYONE, **layout)
    Stage.forward = forward
    assert [line["guard"] for line in steps(folder)] == ["ok"] * 3 + ["skipped"] + ["ok"] * 8
    assert all(torch.isfinite(t).all() for t in final(folder).values())


def check_moments_on_one_rank(name, whole, **layout):
    """The last rank's optimizer state goes bad once: all return to the checkpoint, and end as if nothing had been."""
    folder, forward_backward, calls = make(name), Engine.forward_backward, [0]

    def wrong(self, micro_batches, *, step):
        sums = forward_backward(self, micro_batches, step=step)
        calls[0] += 1
        if calls[0] == 7 and EVERYONE.rank == LAST:
            self._update.moments()[-1][-1] = math.inf
        return sums

    Engine.forward_backward = wrong
    made_run.run(folder, EVERYONE, **layout)
    Engine.forward_backward = forward_backward
    (event,) = [line for line in read_lines(folder.metrics) if line.get("event") == "repair"]
    assert (event["step"], event["from_step"], event["skips"]) == (4, 7, [])
    assert_equal(final(whole), final(folder))


def check_batch_on_one_rank(name, **layout):
    """Only the last rank reads the damaged tokens: nobody computes with that batch."""
    folder, rows = make(name), loop.training_rows

    def wrong(order, index, *args, **options):
        made = rows(order, index, *args, **options)
        return Rows(micros=[], damage="token 99") if index == 5 and EVERYONE.rank == LAST else made

    loop.training_rows = wrong
    made_run.run(folder, EVERYONE, guard__policy="rollback", guard__skip_after=0, **layout)
    loop.training_rows = rows
    assert [line["batch"] for line in steps(folder)] == [*range(5), *range(6, 13)]


def check_slow_rank(name, **layout):
    """The last rank takes longer than the others: their lines tell that they wait, and for whom."""
    folder, forward_backward = make(name), Engine.forward_backward

    def slow(self, micro_batches, *, step):
        if EVERYONE.rank == LAST:
            time.sleep(0.2)
        return forward_backward(self, micro_batches, step=step)

    Engine.forward_backward = slow
    made_run.run(folder, EVERYONE, train__eval_every=0, **layout)
    Engine.forward_backward = forward_backward
    lines = steps(folder)
    assert sum(line["slowest_rank"] == LAST for line in lines) > 0.7 * len(lines)
    assert median(line["comm_wait_s"] for line in lines) >= 0.18
    assert median(line["comm_s"] - line["comm_wait_s"] for line in lines) < 0.1
    assert median(line["host_s"] for line in lines) < 0.1, "waiting is not this rank's own work"
    for line in lines:
        assert line["comm_wait_s"] <= min(line["comm_s"], line["comm_wait_max_s"])
        assert line["host_s"] <= line["outside_s"] <= line["step_s"]


if __name__ == "__main__":
    expected = check_same_layout("data", **DATA)
    check_same_layout("tensor", **TENSOR)
    pipe = check_same_layout("pipe", **PIPE)
    check_other_layout("data-tensor", expected, DATA, TENSOR)
    check_other_layout("tensor-pipe", expected, TENSOR, PIPE)
    check_other_layout("pipe-alone", expected, PIPE, {}, SoloGroup())
    for name, layout in (("nan-data", DATA), ("nan-tensor", TENSOR), ("nan-pipe", PIPE)):
        check_nan_on_one_rank(name, **layout)
    check_forward_on_one_rank("forward-data", **DATA)
    check_moments_on_one_rank("moments-data", expected, **DATA)
    check_moments_on_one_rank("moments-pipe", pipe, **PIPE)
    check_batch_on_one_rank("batch-data", **DATA)
    check_slow_rank("slow-data", **DATA)
