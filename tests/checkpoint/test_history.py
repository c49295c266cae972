"""Whatever a run does, the newest checkpoint and the best one of its history are there."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import Saver
from fasttrain.comm.group import SoloGroup

# What happens next: train on and save; its validation loss comes (or is none); go back to some kept step; be killed.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(1, 3)),
        st.tuples(st.just("score"), st.sampled_from([1.0, 2.0, 3.0, float("nan"), float("inf")])),
        st.tuples(st.just("back"), st.integers(0, 5)),
        st.tuples(st.just("killed"), st.just(0)),
    ),
    max_size=14,
)


@given(EVENTS, st.integers(1, 3), st.sampled_from([0, 2, 3]), st.booleans())
@settings(max_examples=100)
def test_newest_best_and_every_nth_outlive_any_history(events, keep, keep_every, async_write):
    config = CheckpointConfig(keep=keep, keep_every=keep_every, async_write=async_write)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        saver = Saver(folder, config, SoloGroup())
        # Of the past that the run stands on: what was there before the event, and its losses. What was rightly removed
        # (neither new nor best at the time) stays away when the run goes back behind what it was worse than.
        step, saved, scores, found = 0, [], {}, []
        for what, value in events:
            if what == "save":
                step += value
                saver.save(step, {"w": torch.full((3,), float(step))}, {"step": step})
                saved = [s for s in saved if s < step and s in found] + [step]
                scores = {s: loss for s, loss in scores.items() if s < step and s in found}
            elif what == "score" and saved and saved[-1] == step:
                saver.record(step, value)
                scores.pop(step, None)
                if value < float("inf"):
                    scores[step] = value
            elif what == "back" and saved:
                saver.wait()
                step = store.steps(folder)[-1 - value % len(store.steps(folder))]
            elif what == "killed":
                saver.wait()
                saver = Saver(folder, config, SoloGroup())
            saver.wait()
            found = store.steps(folder)
            assert found == sorted(set(found))
            assert set(saved[-keep:]) <= set(found)
            if scores:
                best = min(scores, key=lambda s: (scores[s], -s))
                assert store.best(folder) == store.path_of(folder, best)
            if saved:
                assert store.newest(folder) == store.path_of(folder, max(found))
                assert store.load(store.newest(folder)).tensors["w"][0] == max(found)
            if keep_every:
                assert {s for s in saved if s % keep_every == 0} <= set(found)
            saved, scores = [s for s in saved if s in found], {s: loss for s, loss in scores.items() if s in found}


@pytest.mark.parametrize("keep_every", [0, 10])
def test_every_nth_is_kept_for_ever(keep_every, tmp_path):
    saver = Saver(tmp_path, CheckpointConfig(keep=1, keep_every=keep_every, async_write=False), SoloGroup())
    for step in range(5, 45, 5):
        saver.save(step, {"w": torch.zeros(1)}, {})
    assert store.steps(tmp_path) == ([10, 20, 30, 40] if keep_every else [40])
