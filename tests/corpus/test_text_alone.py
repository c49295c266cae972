"""Texts that go to Arrow as they are against the same records one by one: documents, ledger rows and counts."""

import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.intakes import read_bytes
from fasttrain.corpus import documents, parquet, text_alone
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.text.columns import from_arrow

GOOD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(lambda t: f"w{t}".encode())
ODD = st.sampled_from(
    [None, b"", b" ", b"\n\t", b"\x0c", b"\x1f", b"\0", "\u00a0".encode(), b"\xef\xbb\xbf", b"\xef\xbb\xbfx",
     b"\xef\xbb\xbf\xef\xbb\xbfx", b"\xff", b"good\xff" * 3, b"x" * 150 + b"\xff", b"\xed\xa0\x80", b"\xc0\x80",
     b"l" * 500, " \u00e9".encode(), b"\nx"]
)  # fmt: skip
TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]


def arrow(values, kind):
    """A column of these bytes, UTF-8 or not."""
    if pa.types.is_dictionary(kind):
        values = [v if v is None or text_alone.is_utf8(v) else b"?" for v in values]
        return pa.array(values, pa.binary()).cast(pa.string()).dictionary_encode()
    large = pa.types.is_large_string(kind)
    raw = pa.array(values, pa.large_binary() if large else pa.binary())
    return raw if kind == pa.binary() else pa.Array.from_buffers(kind, len(raw), raw.buffers())


def packed(table, rows):
    """The bytes of a Parquet file with groups of so many rows."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=rows, data_page_size=64, use_dictionary=rows % 2 == 0)
    return file.getvalue()


def ledger_and_all(reader, data, name, max_bytes, **source):
    """(documents, ledger rows, counts) of a file."""
    config = CorpusConfig.load({"sources": [{"name": "s", "path": ".", **source}], "max_document_bytes": max_bytes})
    found, bad = [], []
    intake = Intake(
        config.sources[0], config, lambda b: found.extend(b.to_pylist()), lambda b: bad.extend(b.to_pylist())
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        reader(LakeFile(path, name, "", len(data), ""), intake)
        intake.flush()
        return found, str(bad).replace(folder, ""), intake.counts


def both(data, *, max_bytes=4000, **source):
    """What is read of a Parquet file, in batches of a few rows; checked against rows one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_ROWS", 5)
        patch.setattr(parquet, "_FEW", 2)
        found = ledger_and_all(parquet.read, data, "x.parquet", max_bytes, **source)
        patch.setattr(text_alone, "suits", lambda source: False)
        wanted = ledger_and_all(parquet.read, data, "x.parquet", max_bytes, **source)
    assert found == wanted
    return found


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.one_of(GOOD, GOOD, GOOD, ODD), max_size=25),
    kind=st.sampled_from(TYPES),
    rows=st.integers(1, 12),
    more=st.booleans(),
    max_bytes=st.sampled_from([4, 4000]),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
)
def test_any_rows(values, kind, rows, more, max_bytes, encoding):
    columns = {"n": pa.array(range(len(values))), "text": arrow(values, kind)}
    table = pa.table(columns if more else {"text": columns["text"]})
    both(packed(table, rows), max_bytes=max_bytes, encoding=encoding)
    both(packed(table, rows), max_bytes=max_bytes, encoding=encoding, id_field="n")


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.one_of(GOOD, GOOD, ODD), min_size=1, max_size=25),
    rows=st.integers(1, 12),
    where=st.integers(0, 999_999),
    junk=st.binary(min_size=1, max_size=12),
    cut=st.booleans(),
)
@example(values=[b"w0"], rows=1, where=186047, junk=b"\x80", cut=False)  # in a column's name
def test_a_damaged_file(values, rows, where, junk, cut):
    data = packed(pa.table({"text": arrow(values, pa.string())}), rows)
    at = where * len(data) // 1_000_000
    both(data[:at] if cut else data[:at] + junk + data[at + len(junk) :])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_rows_are_taken_in_batches(monkeypatch, kind):
    """Else the tests above would compare nothing; a null costs itself and its neighbours."""
    taken = []
    texts = Intake.texts
    monkeypatch.setattr(Intake, "texts", lambda *a: taken.append((a[3], len(a[1]))) or texts(*a))
    values = [f"text {n}".encode() for n in range(64)]
    values[21] = None
    found, bad, counts = read_bytes(parquet.read, packed(pa.table({"text": arrow(values, kind)}), 64), "x.parquet")
    assert taken == [(1, 16), (25, 8), (33, 32)]
    assert [d["origin"] for d in found] == [f"x.parquet#{n}" for n in range(1, 65) if n != 22]
    assert bad == ["quarantine:no_text"]
    assert counts == {"quarantined": 1}


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=30), st.lists(st.one_of(GOOD, ODD.map(lambda t: t or b"")), max_size=4).map(b"".join))
)
def test_bytes_are_judged_as_python_decodes_them(data):
    try:
        wanted = data.decode().removeprefix("\ufeff").encode()
    except UnicodeDecodeError:
        assert not text_alone.is_utf8(data)
        return
    assert text_alone.is_utf8(data)
    found, bad, counts = read_bytes(lambda file, intake: documents.read_text(file, intake, None), data, "a.txt")
    assert [d["text"].encode() for d in found] == [wanted] * bool(wanted.strip())
    assert bad == ["quarantine:empty"] * (not wanted.strip())
    assert set(counts) <= {"quarantined"}


def test_of_a_slice_only_its_own_bytes_are_judged():
    column = pa.array(["first", " ", "words"])
    assert text_alone.has_other(from_arrow(column.slice(0, 2)))
    assert not text_alone.has_other(from_arrow(column.slice(2)))
