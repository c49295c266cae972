"""A large file that is cut gives what it gives whole: documents, ledger rows and counts, damaged or not."""

import gzip
import json
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comm.thread_ranks import on_ranks
from corpus import dumps
from corpus.lake_stage import read as read_lake
from corpus.test_readers_property import SUFFIX, WORDS, pack
from corpus.warcs import page, record
from fasttrain.corpus import cutting, large_files, parquet
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile, Piece
from fasttrain.corpus.reading import read_file
from fasttrain.corpus.removals import Removal, Removals

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def extractor():
    with Extractor(30.0, 0.01) as worker:
        yield worker


def outcome(files, extractor, **source):
    """(documents, ledger rows, counts) of files, each with an intake of its own as parts have."""
    config = CorpusConfig.load({"sources": [{"name": "s", "path": ".", **source}], "max_document_bytes": 4000})
    documents, rows, counts = [], [], Counter()
    for file in files:
        intake = Intake(
            config.sources[0],
            config,
            lambda batch: documents.extend(batch.to_pylist()),
            lambda batch: rows.extend(batch.to_pylist()),
        )
        read_file(file, intake, extractor)
        intake.flush()
        counts.update(intake.counts)
    return documents, rows, +counts


def whole_and_cut(path, kind, piece_bytes, extractor, **source):
    """Both outcomes, and the pieces."""
    file = LakeFile(path, path.name, kind, path.stat().st_size, "1")
    config = CorpusConfig.load({"sources": [{"name": "s", "path": ".", **source}]})
    with tempfile.TemporaryDirectory() as folder:
        pieces = list(cutting.pieces(file, config.sources[0], piece_bytes, Path(folder)))
        cut = outcome([replace(file, piece=p) for p in pieces], extractor, **source)
    assert [p.number for p in pieces] == list(range(len(pieces)))
    assert [p.is_last for p in pieces] == [False] * (len(pieces) - 1) + [True]
    return outcome([file], extractor, **source), cut, pieces


def mbox(texts):
    ends = ["\n", "\r\n"]
    return [f"From a{ends[i % 2]}Subject: {i}{ends[i % 2]}{ends[i % 2]}{t}{ends[i % 2]}{ends[i % 2]}".encode()
            for i, t in enumerate(texts)]  # fmt: skip


def wiki(texts):
    pages = [dumps.page(i, t).encode() for i, t in enumerate(texts)]
    return [dumps.HEADER.encode(), *pages, dumps.FOOTER.encode()]


RECORDS = {
    "jsonl": ("a.jsonl", lambda texts: [json.dumps({"text": t}).encode() + b"\n" for t in texts]),
    "mail": ("a.mbox", mbox),
    "warc": ("a.warc", lambda texts: [record(i, page(f"Page {i} tells of {t}.")) for i, t in enumerate(texts)]),
    "wikitext": ("a-pages-articles.xml", wiki),
}
KIND = st.sampled_from(sorted(RECORDS))


@MANY
@given(KIND, st.lists(WORDS, min_size=1, max_size=20), SUFFIX, st.integers(1, 3000), st.data())
def test_cut_is_as_whole(tmp_path, extractor, kind, texts, suffix, piece_bytes, data):
    name, records = RECORDS[kind]
    made = records(texts)
    packed, _ = pack(made, suffix)
    damage = data.draw(st.sampled_from(["none", "cut", "overwritten"]))
    at = data.draw(st.integers(0, len(packed) - 1))
    if damage == "cut":
        packed = packed[:at]
    elif damage == "overwritten":
        junk = data.draw(st.binary(min_size=1, max_size=20))
        packed = packed[:at] + junk + packed[at + len(junk) :]
    path = tmp_path / (name + suffix)
    path.write_bytes(packed)
    whole, cut, pieces = whole_and_cut(path, kind, piece_bytes, extractor)
    assert cut == whole
    if damage == "none":
        assert len(whole[0]) == len(texts)
        assert len(pieces) > 1 or piece_bytes > sum(map(len, made[:-1])) - 2  # a page ends before its line does


@pytest.mark.parametrize("kind", sorted(RECORDS))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pieces_end_at_the_first_record_behind_the_size(tmp_path, extractor, kind, suffix):
    name, records = RECORDS[kind]
    made = records([f"word {'x' * (i % 50)} end" for i in range(400)])
    path = tmp_path / (name + suffix)
    path.write_bytes(pack(made, suffix)[0])
    whole, cut, pieces = whole_and_cut(path, kind, 2000, extractor)
    assert cut == whole
    sizes = [b.position - a.position for a, b in pairwise(pieces)]
    assert all(2000 <= size < 2000 + 2 * max(map(len, made)) for size in sizes)
    assert pieces[-1].records_before == 400 - sum(p.position >= pieces[-1].position for p in _places(made, kind))


def _places(made, kind):
    """Where each record begins."""
    position, found = 0, []
    for data in made:
        if not (kind == "wikitext" and b"<page>" not in data):
            found.append(Piece(0, position + (data.find(b"<page>") if kind == "wikitext" else 0)))
        position += len(data)
    return found


ROWS = [{"text": f"row {i} {'y' * (i % 90)}", "n": i} for i in range(1000)]


@pytest.mark.parametrize("group_rows", [7, 100, 1000])
@pytest.mark.parametrize("piece_bytes", [500, 9000, 10**6])
def test_parquet(tmp_path, extractor, group_rows, piece_bytes):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=group_rows)
    whole, cut, pieces = whole_and_cut(path, "parquet", piece_bytes, extractor)
    assert cut == whole
    assert [d["origin"] for d in cut[0]] == [f"a.parquet#{i + 1}" for i in range(1000)]
    assert (len(pieces) > 1) == (piece_bytes < 10**6)


def test_parquet_damaged_anywhere(tmp_path, extractor):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=600, compression="zstd", data_page_size=2000)
    data = bytearray(path.read_bytes())
    lost = 0
    for at in range(100, len(data), 997):
        path.write_bytes(data[:at] + b"\xff\0\xff\0" + data[at + 4 :])
        whole, cut, _ = whole_and_cut(path, "parquet", 3000, extractor)
        assert cut == whole
        lost += bool(whole[1])
    assert lost > 3


def test_invalid_text_and_foreign_columns_in_a_cut_row_group(tmp_path, extractor):
    texts = pa.array([f"row {i}".encode() + (b"\xff" if i % 100 == 7 else b" ok") for i in range(2000)], pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 2000, texts.buffers()), "id": list(range(2000))})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    whole, cut, pieces = whole_and_cut(path, "parquet", 4000, extractor, id_field="id")
    assert cut == whole
    assert len(pieces) > 3
    assert sum(row["reason"] == "quarantine:encoding" for row in cut[1]) == 20
    pq.write_table(pa.table({"body": ["x"] * 99}), path)
    whole, cut, _ = whole_and_cut(path, "parquet", 4, extractor)
    assert cut == whole
    assert [row["reason"] for row in cut[1]] == ["quarantine:wrong_schema"]


def large_lake(base, *, repeated=True):
    """A lake with two large files and a small one; ids repeat over the pieces."""
    lines = []
    for i in range(3000):
        identity = f"doc-{i % 1000}" if repeated and i % 3 == 0 else f"own-{i}"
        lines.append(json.dumps({"text": f"Text number {i} of the large file.", "id": identity}))
    lines[1500] = "no json"
    lines[2000] = json.dumps({"text": "a literal repeated name", "id": "doc-3 (2)"})
    (base / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    rows = [{"text": f"Row {i}", "id": f"r{i % 700}"} for i in range(2500)]
    pq.write_table(pa.Table.from_pylist(rows), base / "b.parquet", row_group_size=300)
    (base / "c.jsonl").write_text(json.dumps({"text": "alone", "id": "x"}) + "\n")
    return [{"name": "s", "path": ".", "licence": "CC0-1.0", "id_field": "id"}]


def tree(folder):
    """Every file's bytes but for the manifest's, which holds seconds."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
            if p.is_file() and p.name != "manifest.json"}  # fmt: skip


def lake_of(tmp_path):
    base = tmp_path / "lake"
    base.mkdir()
    return base, large_lake(base)


def rows_of(done):
    """Documents in their order, and ledger rows in one that does not depend on parts (each has its bad rows last)."""
    return done.documents, sorted(done.ledger, key=lambda row: (row["origin"], row["reason"]))


def test_part_bytes_change_no_document(tmp_path):
    base, sources = lake_of(tmp_path)
    whole = read_lake(base, sources, tmp_path / "whole", part_bytes=10**9)
    cut = read_lake(base, sources, tmp_path / "cut", part_bytes=20_000)
    assert len([f for f in cut.manifest.files if "-" in Path(f.path).name.removeprefix("part-")]) > 10
    assert rows_of(cut) == rows_of(whole)
    assert len({d["doc_id"] for d in cut.documents}) == len(cut.documents)
    assert cut.report.counts == whole.report.counts
    assert cut.manifest.extra == whole.manifest.extra
    assert (cut.report.kept, cut.report.dropped) == (whole.report.kept, whole.report.dropped)


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_change_no_byte(tmp_path, size):
    base, sources = lake_of(tmp_path)
    read_lake(base, sources, tmp_path / "one", part_bytes=20_000)
    for done in on_ranks(size, lambda world: read_lake(base, sources, tmp_path / "more", world, part_bytes=20_000)):
        assert not isinstance(done, Exception), done
    assert tree(tmp_path / "more") == tree(tmp_path / "one")
    assert not any(p.name in ("cut", "claims") for p in (tmp_path / "more").rglob("*"))


@pytest.mark.parametrize("victim", [0, 3, 7])
def test_an_interrupted_file_goes_on(tmp_path, monkeypatch, victim):
    base, sources = lake_of(tmp_path)
    read_lake(base, sources, tmp_path / "one", part_bytes=20_000)
    made = []
    real = large_files.LargeFiles._read

    def dying(self, part, piece, writer, taken=None):
        made.append((part.files[0].path.name, piece["number"]))
        if len(made) == victim + 1:
            raise KeyboardInterrupt
        real(self, part, piece, writer, taken)

    with monkeypatch.context() as patch:
        patch.setattr(large_files.LargeFiles, "_read", dying)
        with pytest.raises(KeyboardInterrupt):
            read_lake(base, sources, tmp_path / "two", part_bytes=20_000)
        before = made[:victim]
        victim, made[:] = 10**9, []
        read_lake(base, sources, tmp_path / "two", part_bytes=20_000)
    again = Counter(made)[before[0]] if before else 0
    assert all(Counter(made)[piece] <= 1 for piece in before), "only those whose origins repeat are made again"
    assert again == 0, "the first piece has no piece before it"
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_a_removal_costs_the_pieces_that_it_touches(tmp_path, monkeypatch):
    base, sources = lake_of(tmp_path)
    before = read_lake(base, sources, tmp_path / "out", part_bytes=20_000)
    asked = next(d for d in before.documents if d["origin"] == "a.jsonl.gz#own-1000")
    removals = Removals([Removal(request="r", doc_id=asked["doc_id"].hex())])
    made = []
    real = large_files.LargeFiles._read

    def noted(self, part, piece, writer, taken=None):
        made.append((part.files[0].path.name, piece["number"], taken is not None))
        real(self, part, piece, writer, taken)

    with monkeypatch.context() as patch:
        patch.setattr(large_files.LargeFiles, "_read", noted)
        after = read_lake(base, sources, tmp_path / "out", part_bytes=20_000, removals=removals)
    (name, number, _), *again = made
    assert again in ([], [(name, number, True)])
    assert len(after.documents) == len(before.documents) - 1
    read_lake(base, sources, tmp_path / "anew", part_bytes=20_000, removals=removals)
    assert tree(tmp_path / "out") == tree(tmp_path / "anew")


def test_plain_data_alone_goes_between_ranks(tmp_path):
    piece = Piece(3, 100, "x", 1, 2, ("corrupt", "why", 3), groups=(1, 2), lost=(4, 5, "why"))
    assert Piece(**asdict(piece)) == piece
    sent = Piece(**json.loads(json.dumps(asdict(piece))))
    assert replace(sent, damage=tuple(sent.damage), groups=tuple(sent.groups), lost=tuple(sent.lost)) == piece
    with pytest.raises(parquet.Unreadable):
        parquet.opened(LakeFile(tmp_path / "missing", "missing", "parquet", 1, ""))
