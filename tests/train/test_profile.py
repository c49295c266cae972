import json

import pytest

from train import made_run
from train.test_loop import assert_same


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_profiled_run_writes_a_trace_and_a_table_and_trains_alike(precision, tmp_path):
    plain, seen = made_run.make(tmp_path / "plain"), made_run.make(tmp_path / "seen")
    made_run.run(plain, train__precision=precision)
    made_run.run(seen, train__precision=precision, profile=2)
    assert_same(plain, seen)
    folder = seen.train / "profile"
    assert {p.name for p in folder.iterdir()} == {"trace.json", "table.json", "table.txt"}
    names = {event.get("name") for event in json.loads((folder / "trace.json").read_text())["traceEvents"]}
    assert {"forward", "backward", "optimizer", "data", "aten::mm", "fasttrain::attention"} <= names
    table = json.loads((folder / "table.json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    for name in ("aten::mm", "fasttrain::attention_backward", "fasttrain::linear_cross_entropy"):
        assert 0 < rows[name]["gflops"] < 2 * table["peak_gflops"]
    assert rows["optimizer"]["gbytes"] > 0
    assert rows["fasttrain::attention"]["calls"] == 4, "2 layers, 2 micro-batches"
    assert 0 < table["outside"] < 1
    in_steps = sum(row["seconds"] for name, row in rows.items() if name not in ("evaluation", "checkpoint"))
    assert in_steps <= table["step_s"]
    assert "fasttrain::attention" in (folder / "table.txt").read_text()


def test_a_run_that_ends_early_is_profiled_for_what_it_had(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, train__num_steps=5, profile=10)
    assert (folder.train / "profile" / "table.json").exists()
