"""The table of a trace, worked by hand."""

import pytest

from fasttrain.monitor.op_cost import COSTS, cost
from fasttrain.monitor.op_table import Peaks, Row, outside_share, rows, text


def event(name, ts, dur, cat="cpu_op", dims=(), types=(), tid=1, numbers=()):
    args = {"Input Dims": list(dims), "Input type": list(types), "Concrete Inputs": list(numbers)}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "tid": tid, "args": args}


def test_flops_by_hand():
    assert cost("aten::mm", [[3, 4], [4, 5]], ["float"] * 2).flops == 2 * 3 * 4 * 5
    assert cost("aten::addmm", [[5], [3, 4], [4, 5]], ["float"] * 3).flops == 2 * 3 * 4 * 5
    assert cost("aten::bmm", [[2, 3, 4], [2, 4, 5]], ["float"] * 2).flops == 2 * 2 * 3 * 4 * 5
    q, k = [2, 8, 6, 16], [2, 8, 3, 16]
    assert cost("fasttrain::attention", [q, k, k], ["float"] * 3).flops == 2 * 2 * 2 * 6 * 16 * (8 * 9 / 2)
    assert cost("fasttrain::attention_backward", [q, q, k, k], ["float"] * 4).flops == 5 * 2 * 2 * 6 * 16 * (8 * 9 / 2)
    decoding = cost("fasttrain::attention", [[1, 1, 6, 16], k], ["float"] * 2)
    assert decoding.flops == 2 * 2 * 6 * 16 * 8, "every key"
    loss = cost("fasttrain::linear_cross_entropy", [[7, 4], [9, 4], [7]], ["float", "float", "long int"])
    assert loss.flops == 6 * 7 * 4 * 9


def test_bytes_by_hand():
    two = [[10, 4], [10, 4]]
    assert cost("fasttrain::swiglu", two, ["c10::BFloat16"] * 2).bytes == 3 * 40 * 2
    assert cost("fasttrain::gelu", two[:1], ["c10::BFloat16"]).bytes == 2 * 40 * 2
    assert cost("fasttrain::gelu_backward", two, ["c10::BFloat16"] * 2).bytes == 3 * 40 * 2
    assert cost("aten::copy_", two, ["float", "c10::BFloat16"]).bytes == 40 * 4 + 40 * 2
    assert cost("aten::mm", [[3, 4], [4, 5]], ["c10::BFloat16"] * 2).bytes == 2 * (12 + 20 + 15)
    assert cost("aten::addmm", [[5], [3, 4], [4, 5]], ["float"] * 3).bytes == 4 * (5 + 12 + 20 + 15)
    q, k = [2, 8, 6, 16], [2, 8, 3, 16]
    assert cost("fasttrain::attention", [q, k, k], ["float"] * 3).bytes == 4 * (2 * 1536 + 2 * 768)
    stats = cost("fasttrain::attention_backward", [q, q, k, k, [1, 8], q], ["float"] * 4 + ["int", "float"])
    assert stats.bytes == 4 * (3 * 1536 + 2 * 768 + 8 + 1536 + 2 * 768)
    loss = cost("fasttrain::linear_cross_entropy", [[7, 4], [9, 4], [7]], ["c10::BFloat16", "float", "long int"])
    assert loss.bytes == 2 * 28 + 4 * 36 + 8 * 7 + 2 * 28 + 4 * 36, "dweight in fp32"
    assert (
        cost("fasttrain::rms_norm_residual", [*two, [4]], ["c10::BFloat16", "float", "float"]).bytes
        == 80 + 160 + 16 + 2 * 160
    )
    assert cost("fasttrain::embedding", [[2, 3], [50, 4]], ["long int", "float"]).bytes == 48 + 2 * 6 * 4 * 4
    table = cost("fasttrain::embedding_backward", [[2, 3, 4], [2, 3], []], ["float", "long int", ""], ["", "", "50"])
    assert table.bytes == 24 * 4 + 6 * 8 + 50 * 4 * 4
    assert cost("aten::view", two, ["float"] * 2).bytes == 0
    assert cost("aten::mm", [[]], [""]).flops == 0, "a shape that the trace does not tell"


def test_every_native_op_of_the_cpu_has_a_cost():
    """Names as torch knows them: an op that is renamed must be renamed here."""
    import torch

    import fasttrain.nn.attention_op
    import fasttrain.nn.dropout_op
    import fasttrain.nn.embedding_op
    import fasttrain.nn.gelu_op
    import fasttrain.nn.linear_cross_entropy_op
    import fasttrain.nn.rms_norm_op
    import fasttrain.nn.rope_op
    import fasttrain.nn.swiglu_op  # noqa: F401

    named = {name for name in COSTS if name.startswith("fasttrain::")}
    known = {name.partition("(")[0] for name in torch._C._dispatch_get_all_op_names()}
    assert named <= known
    assert {n for n in known if n.startswith("fasttrain::")} - named <= {
        "fasttrain::linear_cross_entropy_backward",
        "fasttrain::adamw_",
    } | {n for n in known if "cuda" in n or "_tensor" in n}


def test_times_are_an_ops_own_and_rates_are_of_its_whole_call():
    events = [
        event("ProfilerStep#3", 0, 1000, "user_annotation"),
        event("forward", 0, 600, "user_annotation"),
        event("aten::linear", 100, 300),
        event("aten::mm", 150, 200, dims=[[100, 10], [10, 50]], types=["float"] * 2),
        event("aten::empty", 160, 100),  # within a counted op: its own time belongs to the product
        event("aten::linear", 700, 100),
    ]
    listed = rows(events, 2)
    linear = {row.phase: row for row in listed if row.name == "aten::linear"}
    found = {row.name: row for row in listed if row.name != "aten::linear"}
    assert set(found) == {"other", "forward", "aten::mm"}
    assert found["aten::mm"].seconds == pytest.approx(100e-6)
    assert found["aten::mm"].gflops == pytest.approx(2 * 100 * 10 * 50 / 200e-6 / 1e9)
    assert {phase: row.seconds for phase, row in linear.items()} == pytest.approx({"forward": 50e-6, "outside": 50e-6})
    assert linear["forward"].calls == 0.5
    assert found["forward"].seconds == pytest.approx(150e-6)
    assert sum(row.seconds for row in listed) == pytest.approx(500e-6), "every second once"


def test_other_threads_are_not_of_the_step():
    events = [
        event("backward", 0, 1000, "user_annotation"),
        event("aten::copy_", 100, 500, tid=2),  # a batch made ahead
        event("autograd::engine::evaluate_function: MmBackward0", 200, 300, tid=3),  # on a card, backward waits for it
        event("aten::mm", 250, 100, tid=3, dims=[[9, 9], [9, 9]], types=["float"] * 2),
    ]
    found = {(row.name, row.phase): row.seconds for row in rows(events, 1)}
    assert found == pytest.approx({("backward", "backward"): 700e-6, ("autograd", "backward"): 200e-6,
                                   ("aten::mm", "backward"): 100e-6})  # fmt: skip


def test_an_optimizers_mark_is_part_of_its_span():
    events = [
        event("optimizer", 0, 500, "user_annotation"),
        event("Optimizer.step#AdamW.step", 100, 300, "user_annotation"),
    ]
    (row,) = rows(events, 1, {"optimizer": 1e6})
    assert (row.name, row.calls, row.seconds) == ("optimizer", 1, pytest.approx(500e-6))
    assert row.gbytes == pytest.approx(2.0), "its bytes over all of its time"


def test_communication_belongs_to_its_phase_and_stands_in_the_first_line():
    events = [
        event("forward", 0, 400, "user_annotation"),
        event("comm_wait", 100, 50, "user_annotation"),
        event("comm", 150, 100, "user_annotation"),
        event("optimizer", 400, 400, "user_annotation"),
        event("aten::mm", 450, 200, dims=[[100, 100]] * 2, types=["float"] * 2),
        event("comm_wait", 900, 30, "user_annotation"),
    ]
    found = rows(events, 1)
    times = {(row.name, row.phase): row.seconds for row in found}
    assert times[("comm_wait", "forward")] == pytest.approx(50e-6)
    assert times[("comm", "forward")] == pytest.approx(100e-6)
    assert times[("comm_wait", "outside")] == pytest.approx(30e-6)
    assert times[("forward", "forward")] == pytest.approx(250e-6)
    peaks = Peaks(gflops=10, gbytes=4)
    lines = text(found, step_s=1e-3, peaks=peaks, outside=0.2, unprofiled_s=1e-3, model_flops=1e6).splitlines()
    assert "forward 40.0%, backward 0.0%, optimizer 40.0%" in lines[0]
    assert lines[0].endswith("; communication, in these: 18.0%, of it 8.0% waiting for other ranks")
    assert "0% of the model's formula and 0.0 G of the optimizer's, 10.0 GFLOP/s" in lines[1], "2 M in 200 us"


def test_attention_counts_what_documents_leave():
    call = event("fasttrain::attention", 0, 1000, dims=[[2, 8, 6, 16]] * 2, types=["float"] * 2)
    whole, half = (rows([call], 1, attention_share=share)[0] for share in (1.0, 0.5))
    assert half.gflops == pytest.approx(whole.gflops / 2)
    assert half.gbytes == whole.gbytes


def row(seconds, calls=1, gflops=0.0, gbytes=0.0):
    return Row(name="op", phase="forward", calls=calls, seconds=seconds, gflops=gflops, gbytes=gbytes)


def test_what_bounds_an_op():
    peaks = Peaks(gflops=100.0, gbytes=10.0)
    assert peaks.bound(row(0.1, gflops=90.0, gbytes=1.0)) == (0.9, "FLOPs")
    assert peaks.bound(row(0.1, gflops=10.0, gbytes=8.0)) == (0.8, "bytes")
    assert peaks.bound(row(0.1, gflops=10.0, gbytes=1.0)) == (0.1, ""), "neither"
    assert peaks.bound(row(0.001, calls=100, gbytes=1.0)) == (0.1, "calls"), "10 us each"
    assert peaks.bound(row(0.001, calls=100, gbytes=9.0)) == (0.9, "bytes"), "short, but at the peak"


def test_known_bytes_of_a_span_and_the_text():
    events = [event("optimizer", 0, 500, "user_annotation"), event("aten::mm", 600, 400, dims=[[9, 9], [9, 9]])]
    events[1]["args"]["Input type"] = ["float"] * 2
    found = rows(events, 1, {"optimizer": 1e6})
    assert found[0].gbytes == pytest.approx(2.0)
    aside = Row(name="evaluation", phase="outside", calls=1, seconds=9.0, gflops=0, gbytes=0)
    table = text(
        [aside, *found],
        step_s=1e-3,
        peaks=Peaks(gflops=10, gbytes=4),
        outside=0.125,
        unprofiled_s=8e-4,
        model_flops=2916,
    )
    lines = table.splitlines()
    assert lines[0] == (
        "step 1.0 ms, 0.8 without the profiler: forward 0.0%, backward 0.0%, optimizer 50.0%; "
        "outside forward, backward and optimizer: 12.5%"
    )
    assert "50% of the model's formula" in lines[1]
    assert [line.split()[0] for line in lines[4:]] == ["optimizer", "aten::mm", "others,"]
    assert lines[4].split() == ["optimizer", "optimizer", "1", "0.50", "50.0%", "2.0", "50%", "bytes"]
    shares = [float(word.rstrip("%")) for line in lines[4:] for word in line.split() if word.endswith(".0%")]
    assert sum(shares) == pytest.approx(100), "evaluations are none of the step"


def test_outside_share():
    spans = [("forward", 0, 300), ("backward", 300, 500), ("totals", 800, 50), ("optimizer", 850, 100)]
    events = [event(name, ts, dur, "user_annotation") for name, ts, dur in spans]
    assert outside_share(events, 1000e-6) == pytest.approx(0.1)
