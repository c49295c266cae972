import io

import pytest
from rich.console import Console

from audit import small_run
from fasttrain.audit import ledger, table, trained
from fasttrain.audit.document import find
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = small_run.build(tmp_path_factory.mktemp("run") / "it's small")
    small_run.write_metrics(run)
    return run


def printed(renderable):
    out = io.StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_drops_by_stage_and_reason(run):
    answer = ledger.sql(
        run,
        "SELECT stage, reason, count(*) AS n, sum(bytes) AS b FROM ledger WHERE decision = 'dropped' "
        "GROUP BY ALL ORDER BY 1",
    )
    assert answer.columns == ("stage", "reason", "n", "b")
    assert answer.rows == [
        ("decontam", "benchmark:humaneval", 1, len(small_run.DOCS[4][3])),
        ("dedup", "near:jaccard", 1, len(small_run.DOCS[1][3])),
        ("filter", "c4:lorem_ipsum", 1, len(small_run.DOCS[2][3])),
    ]


def test_decisions_carry_the_licence(run):
    rows = ledger.sql(run, "SELECT origin, licence FROM decisions WHERE stage = 'dedup' AND decision = 'dropped'").rows
    assert rows == [("https://a.example/two", "CC-BY-4.0")]


def test_documents_by_stage(run):
    rows = ledger.sql(run, "SELECT stage, count(*), sum(bytes) FROM documents GROUP BY 1 ORDER BY 2 DESC, 1").rows
    sizes = [len(d[3]) for d in small_run.DOCS]
    assert rows[0] == ("corpus", 7, sum(sizes))
    assert {r[0]: r[1] for r in rows} == {
        "corpus": 7,
        "filter": 6,
        "dedup": 5,
        "passages": 5,
        "decontam": 4,
        "split": 4,
    }


def test_a_bad_query_says_what_there_is(run):
    with pytest.raises(ConfigError, match="views: documents, ledger, decisions"):
        ledger.sql(run, "SELECT nothing FROM nowhere")


def test_rows_are_limited(run):
    assert len(ledger.sql(run, "SELECT * FROM documents", limit=3).rows) == 3


def test_trained_on(run):
    rows = {r.source: r for r in trained.trained_on(run)}
    assert set(rows) == {"web", "code", "books"}
    assert (rows["books"].licence, rows["books"].documents) == ("CC0-1.0", 1)
    assert rows["books"].num_bytes == len(small_run.DOCS[5][3])
    assert rows["books"].tokens == len(small_run.DOCS[5][3]) + 1
    # 40 steps of 512 tokens, half of them from books
    assert rows["books"].epochs == pytest.approx(40 * 512 * 0.5 / rows["books"].tokens)
    assert rows["books"].tokens_seen == 40 * 512 // 2


def test_before_training_no_epochs_are_claimed(tmp_path):
    run = small_run.build(tmp_path / "run")
    assert {r.epochs for r in trained.trained_on(run)} == {None}


def test_a_line_cut_by_a_kill_is_not_counted(tmp_path):
    run = RunFolder(tmp_path)
    small_run.write_metrics(run, steps=3)
    with run.metrics.open("a") as file:
        file.write('{"step": 4, "tokens": 9999, "loss": 2.')
    assert trained.last_step(run)["step"] == 3


def test_no_shards_is_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(FormatError, match="run `fasttrain prepare` first"):
        trained.trained_on(RunFolder(tmp_path))


def test_tables_show_evidence_and_never_read_markup(run):
    text = printed(table.format_trails(find(run, "https://a.example/two")))
    assert "dropped by dedup: near:jaccard" in text
    assert "(https://a.example/one)" in text
    assert "Not in this run's lake" in printed(table.format_trails([]))
    rows = ledger.Rows(("text",), [("[bold red]as it is[/]",)])
    assert "[bold red]as it is[/]" in printed(table.format_rows(rows))
    assert "CC0-1.0" in printed(table.format_trained_on(trained.trained_on(run)))
