"""Each command on a finished run: what a person asks after the journey."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from cli import called
from fasttrain.cli.report import make_server
from fasttrain.formats.run_folder import RunFolder
from flow import journey


def ask(*arguments):
    return said(journey.fasttrain(*map(str, arguments), ranks=1))


def ask_here(*arguments):
    """In this process."""
    return said(called.fasttrain(*arguments))


def said(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_audit_finds_a_text_and_every_decision_about_it(unbroken):
    out = ask("audit", unbroken[0], "--text", "Everyone has the right to life, liberty")
    assert "package:demo_lake" in out or "demo_lake/declarations" in out
    for stage in ("corpus", "filter", "dedup", "passages", "decontam", "split"):
        assert stage in out


def test_audit_answers_for_a_benchmark(unbroken):
    assert "clean items" in ask_here("audit", "benchmark", unbroken[0], "HumanEval")


def test_audit_names_the_documents_of_a_step(unbroken):
    out = ask_here("audit", unbroken[0], "--step", "3")
    assert "step 3" in out
    assert "demo_lake/" in out


def test_audit_says_what_was_trained_on_by_source_and_licence(unbroken):
    out = ask_here("audit", unbroken[0])
    assert "BSD-3-Clause" in out
    assert "epochs" in out


def test_audit_answers_sql(unbroken):
    out = ask_here(
        "audit", unbroken[0], "--sql", "SELECT decision, count(*) AS n FROM ledger WHERE stage = 'dedup' GROUP BY 1"
    )
    assert "kept" in out
    assert "dropped" in out


def test_audit_takes_one_question(unbroken):
    done = called.fasttrain("audit", unbroken[0], "--step", "1", "--sql", "SELECT 1")
    assert done.returncode == 2
    assert "one question at a time, got --step and --sql" in done.stderr


def test_generate_is_seeded(unbroken):
    ask_again = [
        ask("generate", unbroken[0], "-p", "All human", "--max-new-tokens", "8", "--seed", "3") for _ in range(2)
    ]
    assert ask_again[0] == ask_again[1]
    assert "All human" in ask_again[0]


def test_eval_on_one_rank_gives_the_scores_of_two(unbroken):
    folder = unbroken[0]
    before = json.loads((folder / "eval/eval.json").read_text())["scores"]
    assert "bigram bpb" in ask("eval", folder, "--checkpoint", "24")
    after = json.loads((folder / "eval/eval.json").read_text())["scores"]
    assert after.keys() == before.keys()
    for name, score in after.items():
        assert score["bpb"] == pytest.approx(before[name]["bpb"], rel=1e-9)


def test_export_writes_where_it_is_told(unbroken, tmp_path):
    ask("export", unbroken[0], "--to", tmp_path / "out", "--checkpoint", "best")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_estimate_runs_nothing(tmp_path):
    out = ask_here("estimate", journey.RECIPE, "--no-calibrate", "--ranks", "4", "--set", "layout.tp=2")
    assert "dp 2, tp 2, pp 1" in out
    assert "6 * " in out  # the formula is printed


def test_tokenizer_report_compares_on_text(unbroken, tmp_path):
    (tmp_path / "a.txt").write_text("All human beings are born free and equal in dignity and rights.\n" * 20)
    out = ask_here("tokenizer", "report", unbroken[0], "--text", tmp_path / "a.txt")
    assert "bytes/token" in out
    assert "a.txt" in out


def test_report_is_served_while_asked_for(unbroken):
    with make_server(RunFolder(unbroken[0]), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            with urllib.request.urlopen(f"{base}/") as answer:
                assert b"<!doctype html>" in answer.read(200).lower()
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                urllib.request.urlopen(f"{base}/etc/passwd")
            refused.value.close()
        finally:
            server.shutdown()
            thread.join()
