import json
import math

import pytest
import torch

from fasttrain.monitor.metrics import MetricsLog, read_lines
from fasttrain.monitor.throughput import Peak, Throughput, measured_flops, memory_bytes, peak_flops

CPU = torch.device("cpu")


def write(path, steps, **options):
    with MetricsLog(path, **options) as metrics:
        if "resume_step" not in options:
            metrics.event("start", num_params=3)
        for step in steps:
            metrics.step(step, loss=1.0 / (step + 1), loss_by_source={"a": 1.0})


def test_a_resumed_file_tells_each_step_once(tmp_path):
    write(tmp_path / "whole.jsonl", range(10))
    write(tmp_path / "cut.jsonl", range(7))
    write(tmp_path / "cut.jsonl", range(5, 10), resume_step=4)
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_half_written_line_is_cut(tmp_path):
    path = tmp_path / "m.jsonl"
    write(path, range(3))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "lo')
    assert [e["step"] for e in read_lines(path) if "step" in e] == [0, 1, 2]
    write(path, [], resume_step=2)
    assert path.read_bytes() == whole


def test_what_is_not_finite_is_text_not_a_number(tmp_path):
    with MetricsLog(tmp_path / "m.jsonl") as metrics:
        metrics.step(0, loss=math.nan, grad_norm=math.inf)
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"step": 0, "loss": "nan", "grad_norm": "inf"}


def test_tensorboard_holds_the_curves(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path / "m.jsonl", range(4), tensorboard=tmp_path / "tb")
    events = reader.EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert "loss_by_source/a" in events.Tags()["scalars"]


def test_mfu_follows_its_formula(monkeypatch):
    clock = iter([100.0, 100.0, 102.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    rates = Throughput(flops_per_token=1e9, peak=Peak(1e12, "declared"), num_ranks=2)
    rates.start()
    assert rates.step(1000) == {"step_s": 2.0, "tokens_per_s": 500.0, "mfu": 500 * 1e9 / (2 * 1e12)}


def test_peak_is_declared_or_measured():
    assert peak_flops(CPU, torch.float32, 5e12) == Peak(5e12, "declared in the recipe")
    measured = peak_flops(CPU, torch.float32)
    assert measured.flops > 1e8
    assert "measured" in measured.source
    assert measured_flops(CPU, torch.float32, n=64, seconds=0.01) > 0
    assert memory_bytes(CPU) > 10_000_000
