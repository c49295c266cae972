"""The table of a trace, worked by hand."""

import pytest

from fasttrain.monitor.op_cost import cost
from fasttrain.monitor.op_table import outside_share, rows, text


def event(name, ts, dur, cat="cpu_op", dims=(), types=(), tid=1):
    args = {"Input Dims": list(dims), "Input type": list(types)}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}


def test_flops_by_hand():
    assert cost("aten::mm", [[3, 4], [4, 5]], ["float"] * 2).flops == 2 * 3 * 4 * 5
    assert cost("aten::addmm", [[5], [3, 4], [4, 5]], ["float"] * 3).flops == 2 * 3 * 4 * 5
    assert cost("aten::bmm", [[2, 3, 4], [2, 4, 5]], ["float"] * 2).flops == 2 * 2 * 3 * 4 * 5
    q, k = [2, 8, 6, 16], [2, 8, 3, 16]
    assert cost("fasttrain::attention", [q, k, k], ["float"] * 3).flops == 2 * 2 * 2 * 6 * 16 * (8 * 9 / 2)
    assert cost("fasttrain::attention_backward", [q, q, k, k], []).flops == 5 * 2 * 2 * 6 * 16 * (8 * 9 / 2)
    assert cost("fasttrain::attention", [[1, 1, 6, 16], k], []).flops == 2 * 2 * 6 * 16 * 8, "decoding: every key"
    assert cost("fasttrain::linear_cross_entropy", [[7, 4], [9, 4], [7]], []).flops == 6 * 7 * 4 * 9


def test_bytes_by_hand():
    two = [[10, 4], [10, 4]]
    assert cost("fasttrain::swiglu", two, ["c10::BFloat16"] * 2).bytes == 3 * 40 * 2
    assert cost("aten::copy_", two, ["float", "c10::BFloat16"]).bytes == 40 * 4 + 40 * 2
    assert cost("aten::view", two, ["float"] * 2).bytes == 0
    assert cost("aten::mm", [[]], [""]).flops == 0, "a shape that the trace does not tell"


def test_times_are_an_ops_own_and_rates_are_of_its_whole_call():
    events = [
        event("ProfilerStep#3", 0, 1000, "user_annotation"),
        event("forward", 0, 600, "user_annotation"),
        event("aten::linear", 100, 300),
        event("aten::mm", 150, 200, dims=[[100, 10], [10, 50]], types=["float"] * 2),
        event("aten::empty", 160, 100),  # within a counted op: its own time belongs to the product
        event("aten::linear", 700, 100),
    ]
    found = {row.name: row for row in rows(events, 2)}
    assert set(found) == {"other", "forward", "aten::linear", "aten::mm"}
    assert found["aten::mm"].seconds == pytest.approx(100e-6)
    assert found["aten::mm"].gflops == pytest.approx(2 * 100 * 10 * 50 / 200e-6 / 1e9)
    assert found["aten::linear"].seconds == pytest.approx((100 + 100) / 2 * 1e-6)
    assert found["aten::linear"].calls == 1
    assert found["forward"].seconds == pytest.approx(150e-6)
    assert sum(row.seconds for row in found.values()) == pytest.approx(500e-6), "every second once"


def test_known_bytes_of_a_span_and_the_text():
    events = [event("optimizer", 0, 500, "user_annotation"), event("aten::mm", 600, 400, dims=[[9, 9], [9, 9]])]
    found = rows(events, 1, {"optimizer": 1e6})
    assert found[0].gbytes == pytest.approx(2.0)
    table = text(found, step_s=1e-3, peak_gflops=10, peak_gbytes=4, outside=0.125)
    assert "outside forward, backward and optimizer: 12.5%" in table
    assert [line.split()[0] for line in table.splitlines()[3:]] == ["optimizer", "aten::mm"]
    assert table.splitlines()[3].split() == ["optimizer", "1", "0.50", "50.0%", "2.0", "50%"]


def test_outside_share():
    spans = [("forward", 0, 300), ("backward", 300, 500), ("totals", 400, 50), ("optimizer", 800, 100)]
    events = [event(name, ts, dur, "user_annotation") for name, ts, dur in spans]
    assert outside_share(events, 1000e-6) == pytest.approx(0.15)
