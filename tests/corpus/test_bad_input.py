"""Bad input never stops a run: what is good before the damage is kept, what is bad lies in the ledger."""

import bz2
import gzip
import json
import random
import tracemalloc
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.lake_stage import read, read_one
from corpus.warcs import gzipped, page, record
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import lake

PACK = {
    "": bytes,
    ".gz": lambda b: gzip.compress(b, 6, mtime=0),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": lambda b: bz2.compress(b, 1),  # blocks of 100 kB
}


def lines(*texts):
    return b"".join(json.dumps({"text": t}).encode() + b"\n" for t in texts)


def reasons(outcome):
    assert outcome.report.dropped == {f"quarantine:{k}": n for k, n in sorted(_counted(outcome).items())}
    assert outcome.report.counts.get("quarantined", 0) == len(outcome.bad)
    return [kind for kind, _ in outcome.bad]


def _counted(outcome):
    kinds = [kind for kind, _ in outcome.bad]
    return {kind: kinds.count(kind) for kind in kinds}


def noise(size, seed):
    """Text that hardly compresses, so that a cut file loses little."""
    return random.Random(seed).randbytes(size).hex()


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_a_truncated_file_gives_its_first_records(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    texts = [noise(50_000, seed) for seed in range(6)]
    packed = PACK[suffix](lines(*texts))
    path.write_bytes(packed[: len(packed) * 2 // 3])
    outcome = read_one(tmp_path, path)
    n = len(outcome.texts)
    assert n >= 2
    assert outcome.texts == texts[:n]
    assert reasons(outcome) == ["truncated"]
    row = outcome.bad[0][1]
    assert row["origin"] == f"a.jsonl{suffix}#{n + 1}"
    evidence = json.loads(row["evidence"])
    assert evidence["position"] >= len(lines(*texts[:n]))
    assert (evidence["file"], evidence["record"]) == (path.name, n + 1)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_a_corrupt_file_gives_its_first_records(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    texts = [noise(100_000, seed) for seed in range(6)]
    packed = bytearray(PACK[suffix](lines(*texts)))
    middle = len(packed) * 7 // 12  # of the fourth of six equal texts
    for i in range(middle, middle + 40):
        packed[i] ^= 0xA5
    path.write_bytes(packed)
    outcome = read_one(tmp_path, path)
    assert outcome.texts[:3] == texts[:3]  # the damage lies in the fourth
    # Behind it the decoder may read on (wrong characters, then sound ones again) until the checksum tells, at the end.
    assert texts[3] not in outcome.texts
    whole = [texts.index(t) for t in outcome.texts if t in texts]
    assert whole == sorted(set(whole))
    assert reasons(outcome)[-1] == "corrupt"


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_a_200_mb_line_is_set_aside_in_little_memory(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    opened = {"": open, ".gz": gzip.open, ".zst": zstandard.open, ".bz2": bz2.open}[suffix]
    with opened(path, "wb") as file:
        file.write(lines("before") + b'{"text": "')
        for _ in range(200):
            file.write(b"a" * 1_000_000)
        file.write(b'"}\n' + lines("after"))
    tracemalloc.start()
    try:
        outcome = read_one(tmp_path, path, {"max_document_bytes": 5_000_000})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.texts == ["before", "after"]
    assert reasons(outcome) == ["too_large"]
    assert outcome.bad[0][1]["bytes"] == 200_000_012
    assert outcome.bad[0][1]["origin"] == f"{path.name}#2"
    assert peak < 40_000_000


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.warc", "a.warc.gz", "a.parquet", "a.txt", "a.py"])
def test_an_empty_file_is_counted(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    outcome = read_one(tmp_path, tmp_path / name)
    assert outcome.texts == []
    assert reasons(outcome) == ["empty"]


def test_a_few_invalid_bytes_are_replaced_and_many_are_not(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "few.txt").write_bytes(b"x" * 500 + b"\xff" + b"y" * 500)
    (folder / "many.txt").write_bytes("déjà vu à Orléans".encode("latin-1"))
    (folder / "rows.jsonl").write_bytes(
        b'{"text": "' + b"x" * 500 + b'\xff"}\n{"text": "\xff\xfe\xfd"}\n{"text": "good"}\n'
    )
    outcome = read_one(tmp_path, folder)
    assert sorted(outcome.texts) == ["good", "x" * 500 + "\ufffd", "x" * 500 + "\ufffd" + "y" * 500]
    assert {row["origin"] for _, row in outcome.bad} == {"t/many.txt", "t/rows.jsonl#2"}
    assert set(reasons(outcome)) == {"encoding"}
    assert outcome.report.counts["repaired_texts"] == 2
    assert outcome.report.counts["replaced_characters"] == 2


def test_an_encoding_that_is_declared_is_used(tmp_path):
    (tmp_path / "a.txt").write_bytes("déjà vu à Orléans".encode("latin-1"))
    assert read_one(tmp_path, tmp_path / "a.txt", encoding="latin-1").texts == ["déjà vu à Orléans"]
    with pytest.raises(ConfigError, match="corpus.sources.0.encoding: must be a character encoding"):
        read(tmp_path, [{"name": "s", "path": "a.txt", "encoding": "latin-77"}], tmp_path / "o")


def test_records_that_are_no_records(tmp_path):
    good = {"text": "good", "when": "2024-01-01T00:00:00+00:00"}
    rows = [
        (b"{", "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b'{"body": "x"}', "no_text"),
        (b'{"text": null}', "no_text"),
        (b'{"text": 7}', "text_not_a_string"),
        (b'{"text": "  \\n"}', "empty"),
        (b'{"text": "\\ud800\\ud800"}', "encoding"),
        (b"[" * 100_000, "not_json"),
        (b'{"text": ' + b"9" * 5000 + b"}", "not_json"),
    ]
    data = b"".join(row + b"\n" + json.dumps(good).encode() + b"\n\n" for row, _ in rows)
    (tmp_path / "a.jsonl").write_bytes(data)
    outcome = read_one(tmp_path, tmp_path / "a.jsonl", timestamp_field="when")
    assert reasons(outcome) == [reason for _, reason in rows]
    assert outcome.texts == ["good"] * len(rows)
    assert outcome.documents[0]["timestamp"].isoformat() == "2024-01-01T00:00:00+00:00"
    first = outcome.bad[2][1]
    assert json.loads(first["evidence"]) == {
        "field": "text",
        "file": "a.jsonl",
        "position": data.index(rows[2][0]),
        "record": 7,
    }


def test_a_warc_cut_in_the_middle(tmp_path):
    records = [record(i, page(f"page {i} {noise(400, i)}")) for i in range(5)]
    whole = read_one(tmp_path, _write(tmp_path / "w.warc.gz", gzipped(records)))
    assert [d["origin"] for d in whole.documents] == [f"http://a.example/{i}" for i in range(5)]
    assert whole.documents[0]["timestamp"].isoformat() == "2024-02-03T04:05:06+00:00"
    assert whole.bad == []
    for suffix, data in ((".gz", gzipped(records)), ("", b"".join(records))):
        for cut in (len(data) - 5, len(data) - 600, len(data) // 2):
            path = _write(tmp_path / f"{cut}.warc{suffix}", data[:cut])
            outcome = read(tmp_path, [{"name": "s", "path": path.name}], tmp_path / f"out{cut}{suffix}")
            n = len(outcome.texts)
            assert outcome.texts == whole.texts[:n]
            assert n >= 2
            assert set(reasons(outcome)) == {"truncated"}


def _write(path, data):
    path.write_bytes(data)
    return path


def test_records_of_a_crawl_that_are_no_pages(tmp_path):
    gz = zlib.compress(page("x" * 50))
    records = [
        record(0, page("kept")),
        record(1, page("gone"), status="404 Not Found"),
        record(2, b"\x89PNG\r\n\x1a\n" + bytes(range(256)), content_type="image/png"),
        record(3, b"%PDF-1.4\x00\x01\x02\x03" + random.Random(1).randbytes(500)),  # says that it is HTML
        record(4, b"no markup at all"),
        record(5, b"plain text passes through", content_type="text/plain"),
        record(6, b"so does extracted text", content_type="text/plain", kind="conversion"),
        record(7, gz[: len(gz) // 2], extra="Content-Encoding: gzip\r\n"),
        record(8, b"<html></html>"),
        record(9, "<p>¡Olé, señor!</p>".encode("latin-1"), content_type="text/html; charset=iso-8859-1"),
        record(10, page("last")),
    ]
    outcome = read_one(tmp_path, _write(tmp_path / "a.warc.gz", gzipped(records)))
    texts = [t.strip() for t in outcome.texts]
    assert texts == ["kept", "plain text passes through", "so does extracted text", "¡Olé, señor!", "last"]
    by_url = {row["origin"].rsplit("/", 1)[1]: kind for kind, row in outcome.bad}
    assert by_url == {"3": "not_html", "4": "not_html", "7": "http", "8": "empty"}
    assert outcome.report.counts["http_status_404"] == 1
    assert outcome.report.counts["media_image"] == 1


def test_the_same_url_twice_keeps_two_identities(tmp_path):
    records = [record(1, page("first")), record(1, page("second"))]
    outcome = read_one(tmp_path, _write(tmp_path / "a.warc", b"".join(records)))
    assert [d["origin"] for d in outcome.documents] == ["http://a.example/1", "http://a.example/1 (2)"]
    assert outcome.documents[0]["doc_id"] != outcome.documents[1]["doc_id"]
    assert outcome.report.counts["repeated_origins"] == 1


@pytest.mark.parametrize(
    "data", [b"garbage", b"\x1f\x8bgarbage", b"\x28\xb5\x2f\xfdgarbage", b"BZh91AY&SYgarbage", b"\0" * 5000]
)
@pytest.mark.parametrize("name", ["a.warc", "a.jsonl", "a.parquet"])
def test_files_of_something_else(tmp_path, name, data):
    outcome = read_one(tmp_path, _write(tmp_path / name, data))
    assert outcome.texts == []
    assert len(reasons(outcome)) == 1


def test_a_warc_header_without_a_record(tmp_path):
    outcome = read_one(tmp_path, _write(tmp_path / "a.warc", b"WARC/1.0\r\n"))
    assert reasons(outcome) == ["no_warc_type", "truncated"]


def test_parquet_of_the_wrong_schema(tmp_path):
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    outcome = read_one(tmp_path, tmp_path / "a.parquet")
    assert reasons(outcome) == ["wrong_schema"]
    assert json.loads(outcome.bad[0][1]["evidence"])["columns"] == ["body", "n"]
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "b.parquet")
    assert reasons(read(tmp_path, [{"name": "s", "path": "b.parquet"}], tmp_path / "b")) == ["wrong_schema"]


def test_parquet_with_a_damaged_row_group(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [noise(2000, seed) for seed in range(30)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=10, compression="zstd", write_statistics=False)
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(1).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
        middle = start + column.total_compressed_size // 2
    data = bytearray(path.read_bytes())
    data[start : middle + 50] = bytes(middle + 50 - start)
    path.write_bytes(data)
    outcome = read_one(tmp_path, path)
    assert outcome.texts == texts[:10] + texts[20:]
    assert reasons(outcome) == ["corrupt"]
    evidence = json.loads(outcome.bad[0][1]["evidence"])
    assert (evidence["record"], evidence["records"], evidence["row_group"]) == (11, 10, 1)


def test_parquet_with_nulls_and_bytes_that_are_no_text(tmp_path):
    raw = pa.array([b"good", None, b"\xff\xfe\xfd", "h\u00e9".encode()], pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 4, raw.buffers(), null_count=1)  # Arrow does not look
    pq.write_table(pa.table({"text": strings, "id": ["a", "b", "c", "d"]}), tmp_path / "a.parquet")
    outcome = read_one(tmp_path, tmp_path / "a.parquet", id_field="id")
    assert outcome.texts == ["good", "hé"]
    assert [d["origin"] for d in outcome.documents] == ["a.parquet#a", "a.parquet#d"]
    assert reasons(outcome) == ["no_text", "encoding"]


def test_a_file_that_goes_or_cannot_be_read(tmp_path, monkeypatch):
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("a.txt", "b.jsonl", "c.warc", "d.parquet", "e.txt"):
        (folder / name).write_bytes(lines("here"))
    planned = lake.plan

    def plan_then_remove(config, base):
        parts = planned(config, base)
        for name in ("a.txt", "b.jsonl", "c.warc", "d.parquet"):
            (folder / name).unlink()
        return parts

    monkeypatch.setattr(lake, "plan", plan_then_remove)
    outcome = read_one(tmp_path, folder)
    assert reasons(outcome) == ["unreadable"] * 4
    assert [d["origin"] for d in outcome.documents] == ["f/e.txt"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", r"corpus.sources.1.path: source 'two': 'nowhere' matches no file"),
        ("no*/x", r"corpus.sources.1.path: source 'two': 'no\*/x' matches no file"),
        ("empty", r"corpus.sources.1.path: source 'two': 'empty' holds no file of this kind"),
        ("package:demo_lake/nothing", r"matches no file"),
    ],
)
def test_a_path_without_files_names_source_and_key(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, [{"name": "one", "path": "a.txt"}, {"name": "two", "path": path}], tmp_path / "out")
