import os
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest

from fasttrain.formats import document
from fasttrain.formats.part import PartWriter
from fasttrain.formats.rewrite import Rewrite
from formats.batches import documents


@contextmanager
def document_writer(path):
    with pq.ParquetWriter(path, document.SCHEMA) as writer:
        yield writer.write_batch


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "in.parquet"
    with document_writer(path) as write:
        write(documents([f"text {k}" for k in range(10)]))
    return path


def rewritten(part, folder, change):
    """The part of a stage in batches of three; `change(number of the batch, batch)` is what is handed on."""
    with PartWriter(folder, "docs", 0) as writer:
        with Rewrite(part, writer, rows=3) as out:
            for k, batch in enumerate(out):
                out.write(batch, change(k, batch))
        report = writer.close()
    return report, folder / "docs/part-00000.parquet"


def test_what_stays_as_it_is_becomes_a_link(part, tmp_path):
    report, path = rewritten(part, tmp_path / "out", lambda k, batch: batch)
    assert os.path.samefile(path, part)
    assert [(f.path, f.rows) for f in report.files] == [("docs/part-00000.parquet", 10)]


def test_where_links_cannot_be_had_it_is_copied(part, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    _, path = rewritten(part, tmp_path / "out", lambda k, batch: batch)
    assert not os.path.samefile(path, part)
    assert path.read_bytes() == part.read_bytes()


@pytest.mark.parametrize("first", range(4))
def test_from_the_first_difference_on_all_is_written(part, tmp_path, first):
    def change(k, batch):
        return batch.slice(1) if k == first else batch

    report, path = rewritten(part, tmp_path / "out", change)
    texts = document.read_documents(path)["text"].to_pylist()
    assert texts == [f"text {k}" for k in range(10) if k != 3 * first]
    assert report.files[0].rows == 9


def test_everything_dropped_and_nothing_there(part, tmp_path):
    report, path = rewritten(part, tmp_path / "out", lambda k, batch: batch.slice(0, 0))
    assert document.read_documents(path).num_rows == report.files[0].rows == 0
    with document_writer(tmp_path / "empty.parquet"):
        pass
    report, path = rewritten(tmp_path / "empty.parquet", tmp_path / "none", lambda k, batch: batch)
    assert not report.files
