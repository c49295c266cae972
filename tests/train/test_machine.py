"""The precision of a run: what every rank's device computes, and kept when the run moves to another machine."""

import gc
import logging
from pathlib import Path

import pytest
import torch

from comm.thread_ranks import on_ranks
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.core.precision import has_bf16
from fasttrain.monitor.metrics import read_lines
from fasttrain.train import machine
from train import made_run

CPU = torch.device("cpu")


def events(folder):
    return {line["event"]: line["precision"] for line in read_lines(folder.metrics) if "precision" in line}


@pytest.mark.parametrize(
    ("name", "native", "started", "chosen"),
    [
        ("auto", True, None, "bf16"),
        ("auto", False, None, "fp32"),
        ("auto", True, "fp32", "fp32"),
        ("auto", False, "bf16", "bf16"),
        ("fp16", True, None, "fp16"),
        ("fp32", True, "bf16", "fp32"),  # the checkpoint refuses it, not this
    ],
)
def test_precision(name, native, started, chosen, monkeypatch):
    monkeypatch.setattr(machine, "has_bf16", lambda device: native)
    assert machine.choose_precision(name, CPU, SoloGroup(), started=started) == chosen


def test_one_rank_without_bf16_decides_for_all(monkeypatch):
    answers = iter([True, False, True])  # each rank asks once
    monkeypatch.setattr(machine, "has_bf16", lambda device: next(answers))
    assert on_ranks(3, lambda group: machine.choose_precision("auto", CPU, group)) == ["fp32"] * 3


@pytest.mark.parametrize(("name", "remedy"), [("bf16", "use train.precision='auto'"), ("auto", "was started so")])
def test_emulated_bf16_is_warned_of(name, remedy, monkeypatch, caplog):
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    with caplog.at_level(logging.WARNING, "fasttrain.train"):
        machine.choose_precision(name, CPU, SoloGroup(), started="bf16")
    assert "many times slower than fp32" in caplog.text
    assert remedy in caplog.text


def test_the_flag_of_the_cpu_is_that_of_the_kernel():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith(("flags", "Features"))).split()
    assert has_bf16(CPU) == bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def test_no_garbage_is_collected_within_a_step(tmp_path, monkeypatch):
    folder, step = made_run.make(tmp_path), made_run.loop.Loop._step
    inside, collections = [False], []

    def within(self, *args):
        inside[0] = True
        cycle = []
        cycle.append(cycle)
        many = [[i] for i in range(5000)]  # enough to start a collection where one may start
        goes_on = step(self, *args)
        inside[0] = False
        return goes_on and bool(many)

    note = lambda phase, _: collections.append(inside[0]) if phase == "start" else None  # noqa: E731
    monkeypatch.setattr(made_run.loop.Loop, "_step", within)
    monkeypatch.setattr(machine.garbage_between_steps.__wrapped__, "__defaults__", (3,))
    gc.callbacks.append(note)
    try:
        made_run.run(folder)
    finally:
        gc.callbacks.remove(note)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert not any(collections)
    assert len(collections) >= made_run.NUM_STEPS // 3


def test_a_run_that_moves_keeps_what_auto_meant(tmp_path, monkeypatch):
    folder = made_run.make(tmp_path)
    monkeypatch.setattr(machine, "has_bf16", lambda device: True)
    stop = made_run.loop.StopSignal._note
    stepped = made_run.loop.Loop._step

    def one_that_stops(self, *args):
        goes_on = stepped(self, *args)
        if self.state.step == 5:
            stop(self.stop, 15, None)
        return goes_on

    monkeypatch.setattr(made_run.loop.Loop, "_step", one_that_stops)
    assert not made_run.run(folder, train__precision="auto").is_finished
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    assert made_run.run(folder, train__precision="auto").is_finished
    assert events(folder) == {"start": "bf16", "resume": "bf16"}


def test_stochastic_rounding_is_refused_on_a_card_without_kernels(monkeypatch):
    monkeypatch.setattr("fasttrain.core.cuda._BUILT", False)
    monkeypatch.setattr(machine, "has_bf16", lambda device: True)
    with pytest.raises(ConfigError, match="train.precision: bf16_stochastic needs a build with CUDA on a card"):
        machine.choose_precision("bf16_stochastic", torch.device("cuda"), SoloGroup())
    assert machine.choose_precision("bf16_stochastic", CPU, SoloGroup()) == "bf16_stochastic"
