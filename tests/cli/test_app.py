import subprocess
import sys

import pytest

from cli import called
from fasttrain.cli.app import _COMMANDS


def fasttrain(*arguments):
    return subprocess.run([sys.executable, "-m", "fasttrain", *arguments], capture_output=True, text=True, timeout=120)


def test_help_lists_every_command_in_the_order_of_the_journey():
    out = fasttrain("--help").stdout
    places = [out.index(f"│ {name} ") for name in _COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_explains_itself(command):
    done = called.fasttrain(command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert len(done.stdout.split()) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runn",), "No such command 'runn'"),
        (("run", "--outt", "x"), "No such option"),
        (("run", "nonesuch"), "fasttrain: recipe 'nonesuch': no such file or shipped recipe"),
        (("report", "no/such/run"), "not a run folder"),
        (("estimate", "demo", "--ranks", "3", "--set", "layout.tp=3"), "layout.tp must divide it, got 4 heads"),
        (("prepare", "demo", "--only", "sift", "--out", "OUT"), "no such stage; stages in order: corpus, filter"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(tmp_path, arguments, words):
    """In a process of its own the first, which the command line refuses, and the fourth, which a command does."""
    start = fasttrain if words in ("No such command 'runn'", "not a run folder") else called.fasttrain
    done = start(*(str(tmp_path / "run") if a == "OUT" else a for a in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_takes_no_setting_that_would_make_it_another(tmp_path):
    from fasttrain.cli import options, recipe
    from fasttrain.core.errors import ConfigError
    from fasttrain.formats.run_folder import RunFolder

    RunFolder(tmp_path).claim(recipe.read("demo")[0].identity())
    assert options.reopen(tmp_path, ["train.threads=3", "layout.dp=1"]).recipe.train.threads == 3
    with pytest.raises(ConfigError, match="--set optim.lr=0.5 would make it another run; set only layout"):
        options.reopen(tmp_path, ["optim.lr=0.5"])


def test_a_run_folder_keeps_what_its_recipe_says_of_layout_retention_guard_and_threads(tmp_path):
    from fasttrain.cli import options

    said = ["layout.dp=1", "checkpoint.keep=7", "checkpoint.keep_every=100", "train.micro_batch=2"]
    said += ["train.recompute=block", "guard.policy=rollback", "train.peak_flops=1e12"]
    keys = {"out": tmp_path / "run", "show": False, "fresh": False, "verbose": False}
    opened = options.open_run("demo", assignments=said, **keys)
    assert options.reopen(tmp_path / "run").recipe == opened.recipe
    changed = options.reopen(tmp_path / "run", ["guard.policy=skip", "checkpoint.keep=2"]).recipe
    assert (changed.guard.policy, changed.checkpoint.keep, changed.checkpoint.keep_every) == ("skip", 2, 100)
    assert options.reopen(tmp_path / "run").recipe == opened.recipe, "what one command sets is that command's"
    options.open_run("demo", assignments=["checkpoint.keep=3"], **keys)
    assert options.reopen(tmp_path / "run").recipe.checkpoint.keep == 3


def test_print_shows_the_resolved_recipe_and_starts_nothing(tmp_path):
    import tomllib

    done = fasttrain("run", "demo", "--print", "--set", "optim.lr=0.25", "--out", str(tmp_path / "run"))
    assert done.returncode == 0
    assert tomllib.loads(done.stdout)["optim"]["lr"] == 0.25
    assert not (tmp_path / "run").exists()
