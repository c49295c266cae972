import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import fasttrain
from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError
from fasttrain.eval.load import load_model
from fasttrain.monitor.metrics import MetricsLog, read_lines
from fasttrain.parallel.engine import Engine
from fasttrain.train import loop
from fasttrain.train.config import TrainConfig
from fasttrain.train.state import Keeper
from train import made_run

TIMES = {"step_s", "tokens_per_s", "mfu", "comm_s", "comm_wait_s", "data_s", "outside_s", "host_s", "memory_bytes"}
ASIDE_TIMES = {"checkpoint_s", "evaluation_s"}  # of the steps that have them


def final(folder):
    """Every tensor of the newest checkpoint."""
    return dict(store.load(store.newest(folder.checkpoints)).tensors.items())


def steps(folder):
    """Metrics lines of steps, without what a clock says."""
    lines = [line for line in read_lines(folder.metrics) if "event" not in line]
    return [{k: v for k, v in line.items() if k not in TIMES | ASIDE_TIMES} for line in lines]


def assert_same(a, b):
    """Two runs ended with the same bits and told the same story."""
    left, right = final(a), final(b)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), f"{name} differs"
    assert steps(a) == steps(b)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = made_run.make(tmp_path_factory.mktemp("unbroken"))
    return folder, made_run.run(folder)


class Killed(BaseException):
    """What stands for a kill inside one process: nothing catches it."""


@contextmanager
def killing(monkeypatch, owner, name, call):
    """Expect a death at the given call of a method, after its work or, when negative, before."""
    with monkeypatch.context() as patch:
        _die_at(patch, owner, name, call)
        with pytest.raises(Killed):
            yield
    for thread in threading.enumerate():  # a kill would end the writer of checkpoints too: it must not outlive this one
        if thread.name == "checkpoint":
            thread.join()


def _die_at(monkeypatch, owner, name, call):
    original, count = getattr(owner, name), [0]

    def dying(*args, **kwargs):
        count[0] += 1
        if count[0] == abs(call) and call < 0:
            raise Killed
        result = original(*args, **kwargs)
        if count[0] == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, dying)


def test_it_learns_and_says_so(unbroken):
    folder, result = unbroken
    lines = read_lines(folder.metrics)
    assert result.is_finished
    assert [line["step"] for line in steps(folder)] == list(range(1, made_run.NUM_STEPS + 1))
    losses = [line["loss"] for line in steps(folder)]
    assert losses[0] == pytest.approx(math.log(made_run.V), rel=0.02), "at first every token is as likely"
    assert losses[-1] < losses[0] - 0.3
    assert [line["step"] for line in steps(folder) if "val_loss" in line] == [5, 10, 12]
    last = steps(folder)[-1]
    assert result.val_loss == last["val_loss"] < losses[0] - 0.3
    assert set(last["loss_by_source"]) == set(last["val_loss_by_source"]) == set(made_run.SOURCES)
    assert result.tokens == last["tokens"]
    assert lines[0]["event"] == "start"
    assert lines[0]["num_params"] > 0
    assert lines[0]["peak_flops"] == 1e9
    assert lines[1].keys() >= TIMES
    assert lines[1]["mfu"] == pytest.approx(lines[1]["tokens_per_s"] * lines[0]["flops_per_token"] / 1e9)


def test_a_finished_run_returns_at_once(unbroken, monkeypatch):
    folder, result = unbroken
    before = folder.metrics.read_bytes()
    monkeypatch.setattr(loop, "Loop", None)
    assert made_run.run(folder) == result
    assert folder.metrics.read_bytes() == before


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Engine, "forward_backward", 1),  # in the first step
        (Engine, "update", -7),  # gradients made, weights old
        (Engine, "update", 7),  # weights new, nothing told
        (Keeper, "save", -2),
        (Keeper, "save", 2),  # saved step 8, its line unwritten
        (Engine, "evaluate", -1),
        (Engine, "evaluate", 2),
        (Engine, "evaluate", -3),  # everything saved, the last evaluation missing
        (MetricsLog, "step", 12),
    ],
)
def test_killed_and_started_again_it_ends_with_the_same_bits(owner, name, call, unbroken, tmp_path, monkeypatch):
    folder = made_run.make(tmp_path)
    with killing(monkeypatch, owner, name, call):
        made_run.run(folder)
    result = made_run.run(folder)
    assert result == unbroken[1]
    assert_same(folder, unbroken[0])


def test_killed_again_and_again(unbroken, tmp_path, monkeypatch):
    folder = made_run.make(tmp_path)
    for call in (5, 4, 3, 2):
        with killing(monkeypatch, Engine, "update", call):
            made_run.run(folder)
    made_run.run(folder)
    assert_same(folder, unbroken[0])


def test_sigterm_saves_and_the_next_start_goes_on(unbroken, tmp_path, monkeypatch):
    folder, update = made_run.make(tmp_path), Engine.update
    before = signal.getsignal(signal.SIGTERM)

    def update_and_signal(self, **kwargs):
        update(self, **kwargs)
        if self.optimizer_steps == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Engine, "update", update_and_signal)
    result = made_run.run(folder)
    assert (result.step, result.is_finished) == (6, False)
    assert store.steps(folder.checkpoints) == [4, 6]
    assert signal.getsignal(signal.SIGTERM) == before
    made_run.run(folder)
    assert_same(folder, unbroken[0])
    events = [line["event"] for line in read_lines(folder.metrics) if "event" in line]
    assert events == ["start", "stop", "resume", "finish"]


@pytest.mark.parametrize("how", ["cut", "flipped", "missing", "no manifest", "half a manifest"])
def test_a_damaged_newest_checkpoint_is_passed_over_at_the_start(how, unbroken, tmp_path, caplog):
    """The run goes on from the last whole one, to the same end."""
    folder = made_run.make(tmp_path)
    made_run.run(folder)
    (folder.train / "result.json").unlink()
    newest = store.path_of(folder.checkpoints, made_run.NUM_STEPS)
    file = newest / store.MANIFEST if "manifest" in how else next(newest.glob("*.safetensors"))
    whole = file.read_bytes()
    if how in ("missing", "no manifest"):
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if how == "flipped" else whole[: len(whole) // 2])
    assert made_run.run(folder) == unbroken[1]
    assert "checkpoint of step 12 is damaged and passed over" in caplog.text
    assert [line["step"] for line in read_lines(folder.metrics) if line.get("event") == "resume"] == [8]
    assert_same(folder, unbroken[0])


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_saves_and_a_second_one_stops_at_once(times, unbroken, tmp_path, monkeypatch, capfd):
    folder, update = made_run.make(tmp_path), Engine.update
    started_as = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it

    def update_and_interrupt(self, **kwargs):
        update(self, **kwargs)
        for _ in range(times if self.optimizer_steps == 6 else 0):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Engine, "update", update_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        made_run.run(folder)
    assert store.steps(folder.checkpoints) == ([4, 6] if times == 1 else [4])
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    signal.signal(signal.SIGINT, started_as)
    monkeypatch.setattr(Engine, "update", update)
    made_run.run(folder)
    assert_same(folder, unbroken[0])


def test_sigkill_from_outside(unbroken, tmp_path):
    folder = made_run.make(tmp_path)
    tests = Path(__file__).parents[1]
    code = "import sys, pathlib; from train import made_run; from fasttrain.formats.run_folder import RunFolder; "
    code += "made_run.run(RunFolder(pathlib.Path(sys.argv[1])))"
    path = os.pathsep.join([str(Path(fasttrain.__file__).parents[1]), str(tests)])
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(read_lines(folder.metrics)) < 6:
        assert process.poll() is None or len(read_lines(folder.metrics)) >= 6
        time.sleep(0.001)
    process.kill()
    process.wait()
    made_run.run(folder)
    assert_same(folder, unbroken[0])


def test_accumulation_changes_nothing_but_rounding(unbroken, tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, train__micro_batch=1)
    for mine, theirs in zip(steps(folder), steps(unbroken[0])):
        assert mine["tokens"] == theirs["tokens"]
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)


def test_the_best_checkpoint_is_kept_and_named(unbroken):
    folder = unbroken[0]
    scores = json.loads((folder.checkpoints / "scores.json").read_text())
    assert scores == {"12": steps(folder)[-1]["val_loss"]}, "only saved steps are scored"
    assert store.best(folder.checkpoints) == store.path_of(folder.checkpoints, 12)


@pytest.mark.parametrize("precision", ["bf16", "bf16_stochastic", "fp16"])
def test_half_precision_learns_and_resumes_with_the_same_bits(precision, tmp_path, monkeypatch):
    whole, broken = made_run.make(tmp_path / "whole"), made_run.make(tmp_path / "broken")
    made_run.run(whole, train__precision=precision)
    losses = [line["loss"] for line in steps(whole)]
    assert losses[-1] < losses[0] - 0.3
    with killing(monkeypatch, Engine, "update", 7):
        made_run.run(broken, train__precision=precision)
    made_run.run(broken, train__precision=precision)
    assert_same(whole, broken)
    halves = {name for name, t in final(whole).items() if t.dtype != torch.float32}
    matrices = {name for name, t in final(whole).items() if t.ndim > 1 and not name.startswith("optim.")}
    assert halves == (matrices if precision == "bf16_stochastic" else set()), "master weights stay fp32"
    model, _ = load_model(store.path_of(whole.checkpoints, made_run.NUM_STEPS))
    for name, p in model.named_parameters():
        assert torch.equal(p, final(whole)[name].float()), "evaluation and export see the saved weights"


def test_muon_learns_and_resumes_with_the_same_bits(tmp_path, monkeypatch):
    whole, broken = made_run.make(tmp_path / "whole"), made_run.make(tmp_path / "broken")
    made_run.run(whole, optim__name="muon")
    losses = [line["loss"] for line in steps(whole)]
    assert losses[-1] < losses[0] - 0.3
    with killing(monkeypatch, Engine, "update", 7):
        made_run.run(broken, optim__name="muon")
    made_run.run(broken, optim__name="muon")
    assert_same(whole, broken)
    tensors = final(whole)
    assert tensors["optim.m.blocks.0.attn.wq.weight"].any()
    assert "optim.v.blocks.0.attn.wq.weight" not in tensors


def test_an_overflow_of_fp16_skips_the_step_and_halves_the_scale(tmp_path, monkeypatch):
    folder, forward_backward = made_run.make(tmp_path), Engine.forward_backward
    scales, weights = [], []

    def at_a_high_scale(self, micro_batches, *, step):
        if step == 3:
            self.scaler.scale = 2.0**40
        weights.append(self.flat.weights.clone())
        scales.append(self.scaler.scale)
        return forward_backward(self, micro_batches, step=step)

    monkeypatch.setattr(Engine, "forward_backward", at_a_high_scale)
    made_run.run(folder, train__precision="fp16", train__num_steps=6)
    words = [line["guard"] for line in steps(folder)]
    assert words[:3] == ["ok"] * 3
    assert words[3] == "overflow"
    assert scales[4] == 2.0**39
    assert torch.equal(weights[3], weights[4])
    meta = store.load(store.newest(folder.checkpoints)).meta
    assert meta["optimizer_steps"] == words.count("ok") < 6
    assert meta["scaler"]["scale"] < 2.0**39


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__vocab_size": 64}, r"was trained with other settings \(model\).*--fresh"),
        ({"optim__lr": 0.02}, r"other settings \(optim\)"),
        ({"batch__seed": 9}, r"other settings \(order\)"),
        ({"train__num_steps": 20}, r"other settings \(num_steps\)"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(unbroken, changes, words):
    (unbroken[0].train / "result.json").rename(unbroken[0].train / "aside.json")
    try:
        with pytest.raises(ConfigError, match=words):
            made_run.run(unbroken[0], **changes)
    finally:
        (unbroken[0].train / "aside.json").rename(unbroken[0].train / "result.json")


def test_refuses_what_cannot_be(tmp_path):
    folder = made_run.make(tmp_path / "run")
    with pytest.raises(ConfigError, match="layout: dp . tp . pp must be the number of ranks"):
        made_run.run(folder, layout__tp=2)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="train.device: must be 'auto' or 'cpu' here, got 'cuda'"):
            made_run.run(folder, train__device="cuda")
    with pytest.raises(ConfigError, match=r"batch.seq_len: must be at most model.max_seq_len = 16 .* got 24"):
        made_run.run(folder, model__positions="learned", model__max_seq_len=16)
    with pytest.raises(ConfigError, match="holds no token shards; run `prepare` first"):
        made_run.run(type(folder)(tmp_path / "empty"))
    for both in ({}, {"num_steps": 3, "total_tokens": 9}):
        with pytest.raises(ConfigError, match="train: give either num_steps or total_tokens"):
            TrainConfig.load(both, "train")


def test_total_tokens_are_rounded_up_to_steps():
    batch = made_run.settings()["batch"]  # 6 sequences of 24 tokens
    for tokens, expected in ((1, 1), (144, 1), (145, 2), (1440, 10)):
        assert TrainConfig(total_tokens=tokens).resolve_steps(batch) == expected
