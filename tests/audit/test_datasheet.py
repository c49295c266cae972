"""The datasheet's numbers are those that SQL gives over the ledger; its Markdown tells them."""

import json

import pytest

from audit import small_run
from fasttrain.audit import datasheet, ledger
from fasttrain.core.errors import FormatError
from fasttrain.formats.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run.build(tmp_path_factory.mktemp("run"))


def one(run, sql):
    return ledger.sql(run, sql).rows[0][0]


def test_numbers_equal_sql_on_the_ledger(run):
    sheet = datasheet.build(run)
    for name, source in sheet.sources.items():
        where = f"FROM documents WHERE source = '{name}' AND stage"
        assert source.read == one(run, f"SELECT count(*) {where} = 'corpus'")
        assert source.read_bytes == one(run, f"SELECT coalesce(sum(bytes), 0)::BIGINT {where} = 'corpus'")
        assert source.kept == one(run, f"SELECT count(*) {where} = 'decontam'")
        assert sum(source.licences.values()) == source.kept
    assert sum(s.read for s in sheet.sources.values()) == len(small_run.DOCS)
    assert sheet.stages["filter"].dropped == {"c4:lorem_ipsum": 1}
    assert sheet.duplicates == {"near:jaccard": 1}
    assert sum(sheet.languages.values()) == sum(s.kept for s in sheet.sources.values())


def test_it_is_written_as_data_and_as_text_and_holds_no_personal_data(run):
    sheet = datasheet.write(run)
    text = (run.root / "datasheet.md").read_text()
    data = (run.root / "datasheet.json").read_text()
    assert datasheet.Datasheet.load(json.loads(data)) == sheet
    for word in ("# Datasheet: small", "c4:lorem_ipsum", "CC0-1.0", "Known limits"):
        assert word in text
    assert "jane.roe" not in text + data


def test_every_row_of_a_table_has_the_columns_of_its_head(run):
    width = None
    for line in datasheet.markdown(datasheet.build(run)).splitlines():
        cells = line.count("|") - line.count("\\|") if line.startswith("|") else None
        assert cells is None or width is None or cells == width, line
        width = cells


def test_a_corpus_that_is_not_finished_has_none(tmp_path):
    with pytest.raises(FormatError, match="no finished token shards; run `fasttrain prepare` first"):
        datasheet.build(RunFolder(tmp_path))
