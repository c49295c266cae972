"""A run whose batches and sequences grow."""

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.parallel.engine import Engine
from fasttrain.train.setup import check_layout
from train import made_run
from train.test_loop import assert_same, killing, steps

WARMUP = [{"steps": 3, "global_batch": 2, "seq_len": 6}, {"steps": 2, "global_batch": 4}]


def test_killed_within_the_warmup_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    whole, broken = made_run.make(tmp_path / "whole"), made_run.make(tmp_path / "broken")
    shapes, forward_backward = [], Engine.forward_backward

    def seen(self, micro_batches, *, step):
        shapes.append((sum(len(m.tokens) for m in micro_batches), micro_batches[0].tokens.shape[1]))
        return forward_backward(self, micro_batches, step=step)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "forward_backward", seen)
        made_run.run(whole, batch__warmup=WARMUP, checkpoint__every_steps=2)
    assert shapes == [(8, 6)] * 3 + [(4, 24)] * 2 + [(6, 24)] * 7
    for call in (3, 1, 2):
        with killing(monkeypatch, Engine, "update", call):
            made_run.run(broken, batch__warmup=WARMUP, checkpoint__every_steps=2)
    made_run.run(broken, batch__warmup=WARMUP, checkpoint__every_steps=2)
    assert_same(whole, broken)


def test_epochs_are_told_live_and_grow_with_the_sequences_read(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder, batch__warmup=WARMUP)
    told = [line["epochs"] for line in steps(folder)]
    assert set(told[0]) == set(made_run.SOURCES)
    for name in made_run.SOURCES:
        gains = [b[name] - a[name] for a, b in zip([{name: 0.0}, *told], told)]
        assert sum(gains[:3]) < sum(gains[-3:])
        assert told[-1][name] == pytest.approx(sum(gains))


def test_a_batch_too_small_for_the_replicas_is_refused():
    rooms = made_run.settings(batch__warmup=WARMUP)
    check_layout(rooms["model"], rooms["batch"], rooms["layout"], 2)
    with pytest.raises(ConfigError, match=r"must be at least layout.dp = 3, got 2"):
        check_layout(rooms["model"], rooms["batch"], rooms["layout"], 3)
