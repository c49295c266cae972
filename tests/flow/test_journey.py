"""The whole journey on a few hundred documents: what it leaves, and that no kill changes a byte of it."""

import random
import shutil
import time

import pytest

from fasttrain.monitor.metrics import read_lines
from flow import journey

SEED = 20261123


def losses(folder):
    return [line["loss"] for line in read_lines(folder / "train/metrics.jsonl") if "loss" in line]


def test_it_ends_with_a_model_and_a_report(unbroken):
    folder, done, _ = unbroken
    assert (folder / "export/model.safetensors").exists()
    assert (folder / "report.html").stat().st_size > 10_000
    assert str(folder / "export") in done.stdout
    assert str(folder / "report.html") in done.stdout
    seen = losses(folder)
    assert len(seen) == 24
    assert seen[-1] < seen[0]


def written(folder):
    """When each file of the data and of the training was last written (not base.json, which all write)."""
    files = [
        p for part in ("prepare", "train") for p in (folder / part).rglob("*") if p.is_file() and p.name != "base.json"
    ]
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in files}


def test_a_finished_run_makes_nothing_again(unbroken):
    folder, _, _ = unbroken
    before = written(folder)
    again = journey.run(folder)
    assert again.returncode == 0, again.stderr[-4000:]
    assert before
    assert written(folder) == before


def test_one_rank_makes_the_same_shards(unbroken, tmp_path):
    folder, _, _ = unbroken
    done = journey.run(tmp_path / "one", ranks=1)
    assert done.returncode == 0, done.stderr[-4000:]
    assert journey.shard_bytes(tmp_path / "one") == journey.shard_bytes(folder)


def killed_is_unbroken(unbroken, tmp_path, draws, moments):
    folder, _, seconds = unbroken
    killed = tmp_path / "killed"
    alive = 0
    for _ in range(moments):
        if draws.random() < 0.5:  # somewhere in prepare: after a drawn number of finished parts
            parts = draws.randrange(1, 40)
            moment = lambda f, parts=parts: len(list(f.glob("prepare/*/*/part-*.json"))) >= parts  # noqa: E731
        else:  # anywhere at all
            end = time.monotonic() + draws.uniform(0.5, 0.9 * seconds)
            moment = lambda f, end=end: time.monotonic() >= end  # noqa: E731
        alive += journey.run_and_kill(killed, moment)
    done = journey.run(killed)
    assert done.returncode == 0, done.stderr[-4000:]
    assert alive, "no kill met a living run: the moments are drawn too late"
    assert journey.shard_bytes(killed) == journey.shard_bytes(folder)
    assert journey.final_weights(killed) == journey.final_weights(folder)


def train_is_under_way(folder, steps):
    path = folder / "train/metrics.jsonl"
    return path.exists() and path.read_text().count('"loss"') >= steps


def test_killed_three_times_gives_the_same_bytes(unbroken, tmp_path):
    """Once in prepare, once in training, once at any moment."""
    draws = random.Random(SEED)
    killed = tmp_path / "killed"
    parts, steps = draws.randrange(2, 20), draws.randrange(4, 16)
    assert journey.run_and_kill(killed, lambda f: len(list(f.glob("prepare/*/*/part-*.json"))) >= parts)
    assert not (killed / "train").exists()
    assert journey.run_and_kill(killed, lambda f: train_is_under_way(f, steps))
    end = time.monotonic() + draws.uniform(1, 6)
    journey.run_and_kill(killed, lambda f: time.monotonic() >= end)
    done = journey.run(killed)
    assert done.returncode == 0, done.stderr[-4000:]
    assert journey.shard_bytes(killed) == journey.shard_bytes(unbroken[0])
    assert journey.final_weights(killed) == journey.final_weights(unbroken[0])


@pytest.mark.parametrize("layout", ["tp=2", "pp=2"])
def test_the_command_line_takes_a_layout(unbroken, tmp_path, layout):
    """`train RUN --set layout...` gives the losses of the data-parallel run (tests/mpi derives the bounds)."""
    folder, _, _ = unbroken
    copy = tmp_path / "run"
    copy.mkdir()
    shutil.copy(folder / "recipe.json", copy)
    shutil.copytree(folder / "prepare", copy / "prepare")
    done = journey.fasttrain("train", str(copy), "--set", f"layout.{layout}", ranks=2)
    assert done.returncode == 0, done.stderr[-4000:]
    assert losses(copy) == pytest.approx(losses(folder), rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("trial", range(5))
def test_killed_at_random_moments_gives_the_same_bytes(unbroken, tmp_path, trial):
    """Five runs, each killed at four or more random moments in prepare and in training: at least 20 kills."""
    killed_is_unbroken(unbroken, tmp_path, random.Random(SEED + trial), moments=4)


def test_a_folder_of_another_recipe_is_refused(unbroken):
    folder, _, _ = unbroken
    done = journey.run(folder, options=["--set", "optim.lr=0.123"])
    assert done.returncode == 2
    assert "belongs to another recipe (differs in optim.lr)" in done.stderr


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("dedup.threshhold=0.5", "dedup.threshhold: unknown key; did you mean 'threshold'?"),
        ("layout.tp=3", "layout: dp * tp * pp must be the number of ranks"),
        ("corpus.sources.0.path='no/such/folder'", "no/such/folder"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path, assignment, words):
    done = journey.run(tmp_path / "run", ranks=1, options=["--set", assignment])
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
