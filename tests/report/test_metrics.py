import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.report import metrics


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5000))
def test_thinning_keeps_the_extremes(values):
    values = np.array(values)
    x, y = metrics.thin(np.arange(len(values), dtype=float), values)
    assert len(x) <= metrics.MAX_POINTS + 2
    assert x == sorted(set(x))
    assert (x[0], x[-1]) == (0, len(values) - 1)
    wanted = [float(f"{v:.6g}") for v in (values.min(), values.max())]
    assert [min(y), max(y)] == wanted


def test_what_a_step_lacks_is_no_point(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"event": "start", "num_params": 5},
        {"step": 1, "loss": 2.0, "loss_by_source": {"a": 1.5}, "step_s": 0.5},
        {"step": 2, "loss": "nan", "grad_norm": "inf", "guard": "skipped", "step_s": 0.25},
        {"event": "rollback", "step": 2},
        {"step": 3, "loss": 1.0, "loss_by_source": {"b": 0.5}, "val_loss": 1.25, "step_s": 0.25},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo')
    curves = metrics.read(path)
    assert curves.curve("loss") == ([1.0, 3.0], [2.0, 1.0])
    assert curves.curve("val_loss") == ([3.0], [1.25])
    assert curves.curve("grad_norm") == ([], [])
    assert curves.family("loss_by_source") == ["a", "b"]
    assert curves.curve("loss_by_source.b") == ([3.0], [0.5])
    assert [e["event"] for e in curves.events] == ["guard: skipped", "rollback"]
    assert (curves.num_steps, curves.seconds, curves.start["num_params"]) == (3, 1.0, 5)


def test_no_file_no_curves(tmp_path):
    assert metrics.read(tmp_path / "none.jsonl").num_steps == 0


def test_events_are_counted_and_capped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": 1.0, "guard": "log"}) + "\n" for i in range(500)))
    curves = metrics.read(path)
    assert (len(curves.events), curves.num_events) == (metrics.MAX_EVENTS, 500)
