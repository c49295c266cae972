import json

import pytest
import torch

from fasttrain.model.cost import flops_per_token
from fasttrain.model.init import param_shapes
from fasttrain.monitor.spans import ASIDE
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon_work import flops, is_muons
from fasttrain.train.profile import _pairs
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
    rows = {row["name"]: row for row in table["rows"] if row["phase"] != "backward"}
    rows |= {row["name"]: row for row in table["rows"] if row["name"].endswith("_backward")}
    for name in ("aten::mm", "fasttrain::attention_backward", "fasttrain::linear_cross_entropy"):
        assert 0 < rows[name]["gflops"] < 2 * table["peak_gflops"]
    assert rows["optimizer"]["gbytes"] > 0
    assert rows["fasttrain::attention"]["calls"] == 4, "2 layers, 2 micro-batches"
    assert 0 < table["outside"] < 1
    in_steps = sum(row["seconds"] for row in table["rows"] if row["name"] not in ASIDE)
    assert in_steps <= table["step_s"]
    assert in_steps > 0.9 * (1 - table["outside"]) * table["step_s"], "all of forward, backward and optimizer"
    model, batch = made_run.settings()["model"], made_run.settings()["batch"]
    flops = {row["name"]: 0.0 for row in table["rows"]}
    for row in table["rows"]:
        flops[row["name"]] += row["gflops"] * row["seconds"] * 1e9
    attention = flops.pop("fasttrain::attention") + flops.pop("fasttrain::attention_backward")
    tokens, T = batch.global_batch * batch.seq_len, batch.seq_len
    assert table["model_flops"] == tokens * flops_per_token(model, T)
    assert sum(flops.values()) == pytest.approx(tokens * flops_per_token(model, 0)), "every product, and none twice"
    pairs = table["attention_share"] * batch.global_batch * T * (T + 1) / 2
    width = 16  # what heads of 8 are padded to
    assert attention == pytest.approx(7 * 2 * model.num_layers * model.num_heads * width * pairs)
    assert 0.5 < table["attention_share"] < 1, "documents are masked"
    assert "fasttrain::attention" in (folder / "table.txt").read_text()


def test_a_profile_has_muons_products(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, profile=2, optim__name="muon")
    model = made_run.settings()["model"]
    shapes = [s for n, s in param_shapes(model).items() if is_muons(OptimConfig(name="muon"), n, s)]
    table = json.loads((folder.train / "profile" / "table.json").read_text())
    rows = {row["name"]: row for row in table["rows"] if row["phase"] == "optimizer"}
    products = [rows[name] for name in ("aten::mm", "aten::addmm")]
    assert sum(row["gflops"] * row["seconds"] * 1e9 for row in products) == pytest.approx(sum(map(flops, shapes)))
    assert [row["calls"] for row in products] == [5 * len(shapes), 5 * 2 * len(shapes)]
    assert "of the optimizer's" in (folder.train / "profile" / "table.txt").read_text()


def test_a_run_that_ends_early_is_profiled_for_what_it_had(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, train__num_steps=5, profile=10)
    assert (folder.train / "profile" / "table.json").exists()


def test_pairs_of_documents_by_hand():
    segments = torch.tensor([[0, 0, 0, 1], [1, 2, 2, 2]], dtype=torch.int32)
    assert _pairs(segments) == (6 + 1) + (1 + 6), "a document does not go on in the next row"
    assert _pairs(torch.zeros(2, 5, dtype=torch.int32)) == 2 * 15
