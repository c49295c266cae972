import io
import json

import pytest
from rich.console import Console

from audit import small_run
from fasttrain.audit import step
from fasttrain.core.errors import ConfigError
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards

TEXT = {small_run.doc_id(i).hex(): d[3] for i, d in enumerate(small_run.DOCS)}
ORIGIN = {small_run.doc_id(i).hex(): (d[0], d[1], d[2]) for i, d in enumerate(small_run.DOCS)}


@pytest.fixture
def run(tmp_path):
    return small_run.build(tmp_path / "run")


def test_a_step_is_its_documents(run):
    order = step.open_order(run)
    for number in (1, 2, 9):
        found = step.documents_of(run, number)
        batch = order.batch(number - 1)
        assert found.batch == number - 1
        assert found.metrics == {}
        assert found.num_documents == len(found.documents) == len({d.doc_id for d in found.documents})
        # Every byte of the batch comes from the documents that are named, and is found in them.
        rows = {}
        for d in found.documents:
            assert (d.source, d.origin, d.licence) == ORIGIN[d.doc_id]
            for row in d.rows:
                rows.setdefault(row, "")
                rows[row] += TEXT[d.doc_id]
        for row, tokens in enumerate(batch.tokens.tolist()):
            for piece in bytes(0 if t == 256 else t for t in tokens).decode().split("\0"):
                assert piece in rows[row]


def test_the_tokens_are_counted_once(run):
    found = step.documents_of(run, 1)
    # A window is seq_len inputs and one target more, or what is left of a source.
    sizes = [min(65, s.num_tokens) for s in open_shards(run.shards / "train").values()]
    assert found.tokens == sum(d.tokens for d in found.documents)
    assert min(sizes) <= found.tokens <= 4 * 65


def test_batches_that_the_guard_left_out_are_left_out(run):
    lines = [
        {"event": "start"},
        {"step": 1, "tokens": 64, "loss": 2.0, "batch": 0},
        {"event": "rollback", "step": 1, "skips": [[1, 4]]},
        {"step": 2, "tokens": 128, "loss": 1.5, "batch": 4, "guard": "ok"},
    ]
    run.train.mkdir()
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    order = step.open_order(run)
    second, third = step.documents_of(run, 2), step.documents_of(run, 3)
    assert (second.batch, second.metrics["loss"]) == (4, 1.5)
    assert {d.doc_id for d in second.documents} == {s.doc_id for s in order.documents(4)}
    assert (third.batch, third.metrics) == (5, {})


def test_a_step_that_read_other_shards_is_not_told(run):
    run.train.mkdir()
    start = {"event": "start", "order": step.open_order(run).fingerprint}
    trained = {"step": 1, "tokens": 64, "loss": 2.0, "batch": 0}
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in (start, trained)))
    assert step.documents_of(run, 1).metrics == trained
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in (start | {"order": "of then"}, trained)))
    with pytest.raises(ConfigError, match="made again since step 1 was trained"):
        step.documents_of(run, 1)
    assert step.documents_of(run, 2).metrics == {}, "a step to come reads what lies there now"


def test_few_are_shown_all_are_counted(run):
    whole, few = step.documents_of(run, 1), step.documents_of(run, 1, limit=1)
    assert few.documents == whole.documents[:1]
    assert (few.num_documents, few.tokens) == (whole.num_documents, whole.tokens)
    out = io.StringIO()
    Console(file=out, width=200).print(step.format_step(few))
    assert few.documents[0].origin in out.getvalue()
    assert f"and {whole.num_documents - 1} more documents" in out.getvalue() or whole.num_documents == 1
    assert "not trained yet" in out.getvalue()


def test_refusals(run, tmp_path):
    with pytest.raises(ConfigError, match="--step must be at least 1, got 0"):
        step.documents_of(run, 0)
    run.mixture.unlink()
    with pytest.raises(ConfigError, match="no mixture yet"):
        step.documents_of(run, 1)
    with pytest.raises(ConfigError, match="no recipe"):
        step.documents_of(RunFolder(tmp_path), 1)
