"""What a run says at its end, also of one that the guard had to do with."""

import json

from fasttrain.cli import recipe, summary
from fasttrain.cli.options import Session
from fasttrain.comm.group import SoloGroup
from report import full_run


def test_a_run_that_was_rolled_back_and_ended_with_a_skipped_step_has_its_summary(tmp_path, capsys):
    run = full_run.build(tmp_path / "run", steps=20)
    assert '"event": "rollback"' in run.metrics.read_text(), "an event with a loss, and without a time"
    last = {"step": 21, "tokens": 10752, "loss": "nan", "step_s": 0.25, "memory_bytes": 99, "guard": "skipped"}
    with run.metrics.open("a") as lines:
        lines.write(json.dumps(last) + "\n")
    session = Session(recipe.read("demo")[0], tmp_path, run, SoloGroup())
    summary.show(session, full_run.result())
    said = capsys.readouterr().out
    assert "21 steps, 10,752 tokens, loss nan" in said
    assert "estimate: memory of a rank" in said
