import io
import json
import math

import pytest
import torch
from rich.console import Console

from eval.bytes_codec import TEXTS, Bytes, model, write
from fasttrain.checkpoint.save import save
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError, GateError
from fasttrain.eval import run as evaluation
from fasttrain.eval.config import EvalConfig, GateConfig
from fasttrain.eval.generate import generate
from fasttrain.eval.load import load_model
from fasttrain.eval.result import format_generations, format_result
from fasttrain.eval.score import score_shard
from fasttrain.formats.run_folder import RunFolder

CONFIG = EvalConfig(
    prompts=("The ", "def "), max_new_tokens=6, gates=(GateConfig(max=100.0), GateConfig(beats="bigram"))
)


def make(root, net, *, mask=False, **batch):
    folder = RunFolder(root)
    folder.claim({"name": "x", "batch": {"document_mask": mask, **batch}})
    write(folder.shards / "train", TEXTS)
    write(folder.shards / "probe", {"books": TEXTS["books"][:2], "code": TEXTS["code"][1:]})
    tensors = {**net.state_dict(), "optim.m.norm.weight": torch.zeros(32)}
    meta = {"tokens": 640, "model": net.config.to_dict()}
    save(folder.checkpoints, 20, tensors, meta, SoloGroup())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("run") / "run", model(seed=4))


@pytest.fixture(scope="module")
def result(folder):
    return evaluation.run(folder, CONFIG, Bytes())


def test_what_is_written_is_what_is_returned(folder, result):
    written = json.loads((folder.eval / "eval.json").read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    assert written["checkpoint"] == {"path": "train/checkpoints/step-00000020", "step": 20, "tokens": 640}
    assert set(written["scores"]) == {"books", "code", "all"}
    assert set(written["baselines"]) == set(written["baseline_methods"]) == {"unigram", "bigram", "zstd"}
    assert written["probe"]["bytes"] == sum(len(t) for t in (*TEXTS["books"][:2], *TEXTS["code"][1:]))


def test_the_checkpoint_is_what_is_scored(folder, result):
    shard = evaluation.open_shards(folder.shards / "probe")["code"]
    direct = score_shard(model(seed=4), shard, eot_id=256, context_tokens=48)
    assert result.scores["code"] == direct
    assert result.scores["all"].nll == pytest.approx(result.scores["books"].nll + direct.nll)
    options = {"max_new_tokens": 6, "temperature": 0.0}
    assert list(result.generations) == generate(model(seed=4), Bytes(), CONFIG.prompts, **options)


def test_a_second_evaluation_finds_the_same(folder, result):
    again = evaluation.run(folder, CONFIG, Bytes(), checkpoint="20")
    assert {**again.to_dict(), "seconds": 0} == {**result.to_dict(), "seconds": 0}


def test_gates_are_judged_and_then_raised(result):
    assert [g.passed for g in result.gates] == [True, False]  # random weights lose against bigrams of the same text
    assert not result.passed
    with pytest.raises(GateError, match="1 of 2 gates failed: bpb of all <= bigram"):
        result.check()


def test_what_is_scored_at_once_is_what_training_saw(tmp_path):
    folder = make(tmp_path / "run", model(seed=4), seq_len=20)
    shard = evaluation.open_shards(folder.shards / "probe")["code"]
    found = evaluation.run(folder, CONFIG, Bytes())
    assert found.probe["context_tokens"] == 20
    assert found.scores["code"] == score_shard(model(seed=4), shard, eot_id=256, context_tokens=20)
    asked = evaluation.run(folder, CONFIG.model_copy(update={"context_tokens": 32}), Bytes())
    assert asked.scores["code"] == score_shard(model(seed=4), shard, eot_id=256, context_tokens=32)
    with pytest.raises(ConfigError, match=r"eval.context_tokens: must be at most model.max_seq_len = 48, got 49"):
        evaluation.run(folder, CONFIG.model_copy(update={"context_tokens": 49}), Bytes())


def test_a_document_mask_of_the_recipe_is_used(tmp_path, result):
    masked = evaluation.run(make(tmp_path / "masked", model(seed=4), mask=True), CONFIG, Bytes())
    assert masked.probe["document_mask"]
    assert masked.scores["code"].nll != result.scores["code"].nll
    assert math.isclose(masked.scores["code"].nll, result.scores["code"].nll, rel_tol=0.2)


def test_baselines_that_are_not_wanted_are_not_measured(tmp_path):
    found = evaluation.run(make(tmp_path / "run", model()), EvalConfig(baselines=("zstd",), prompts=()), Bytes())
    assert set(found.baselines) == {"zstd"}
    assert found.generations == ()


def test_generate_from_a_run(folder):
    (got,) = evaluation.generate_from(folder, Bytes(), ["The "], max_new_tokens=6, temperature=0.0)
    assert got == generate(model(seed=4), Bytes(), ["The "], max_new_tokens=6)[0]
    with pytest.raises(ConfigError, match="below the model's context of 48, got 48"):
        evaluation.generate_from(folder, Bytes(), ["x"], max_new_tokens=48)


def test_a_loaded_model_is_the_saved_one(folder):
    net, meta = load_model(evaluation.find_checkpoint(folder, "newest"))
    assert meta["step"] == 20
    for name, value in model(seed=4).state_dict().items():
        assert torch.equal(net.state_dict()[name], value)


def test_refusals(tmp_path):
    folder = make(tmp_path / "run", model())
    with pytest.raises(ConfigError, match="no '7'"):
        evaluation.run(folder, CONFIG, Bytes(), checkpoint="7")
    with pytest.raises(ConfigError, match="there is none; run `train` first"):
        evaluation.run(RunFolder(tmp_path / "none"), CONFIG, Bytes())
    tensors = model().state_dict()
    del tensors["norm.weight"]
    save(folder.checkpoints, 30, tensors, {"model": model().config.to_dict()}, SoloGroup())
    with pytest.raises(FormatError, match=r"lacks norm.weight of shape \(32,\)"):
        evaluation.run(folder, CONFIG, Bytes())
    with pytest.raises(FormatError, match="holds no probe documents"):
        write(tmp_path / "bare" / "prepare/shards/train", TEXTS)
        bare = RunFolder(tmp_path / "bare")
        save(bare.checkpoints, 1, model().state_dict(), {"model": model().config.to_dict()}, SoloGroup())
        evaluation.run(bare, CONFIG, Bytes())


def test_the_table_shows_scores_gates_and_texts(result):
    out = io.StringIO()
    Console(file=out, width=160).print(format_result(result))
    text = out.getvalue()
    assert f"{result.scores['all'].bpb:.4f}" in text
    assert "FAIL  bpb of all <= bigram" in text
    out = io.StringIO()
    Console(file=out, width=160).print(format_generations(result.generations))
    assert out.getvalue().startswith("The ")
