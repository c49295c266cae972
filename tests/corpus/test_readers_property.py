"""Whatever is cut off or overwritten, the readers raise nothing and lose no record that lies before the damage."""

import bz2
import gzip
import json

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corpus.intakes import read_bytes
from corpus.warcs import page, record
from fasttrain.corpus import jsonl, warc
from fasttrain.corpus.extraction import Extractor

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def extractor():
    with Extractor(30.0, 0.01) as worker:
        yield worker


def read(data, name, extractor):
    """(texts, quarantined reasons) of a file's bytes."""

    def reader(file, intake):
        if ".warc" in name:
            warc.read(file, intake, extractor)
        else:
            jsonl.read(file, intake)

    documents, bad, _ = read_bytes(reader, data, name)
    return [d["text"] for d in documents], bad


def pack(pieces, suffix):
    """Each piece a gzip member or zstd frame, as crawlers write; returns the bytes and where each piece ends."""
    pressed = {
        "": bytes,
        ".gz": lambda b: gzip.compress(b, mtime=0),
        ".zst": zstandard.ZstdCompressor().compress,
        ".bz2": bz2.compress,
    }[suffix]
    out, ends = b"", []
    for piece in pieces:
        out += pressed(piece)
        ends.append(len(out))
    return out, ends


SUFFIX = st.sampled_from(["", ".gz", ".zst", ".bz2"])
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).map(
    lambda t: f"w{t}w"
)


@QUICK
@given(st.lists(WORDS, min_size=1, max_size=6), SUFFIX, st.data())
def test_jsonl_cut_anywhere(texts, suffix, data):
    packed, ends = pack([json.dumps({"text": t}).encode() + b"\n" for t in texts], suffix)
    cut = data.draw(st.integers(0, len(packed)))
    got, bad = read(packed[:cut], f"a.jsonl{suffix}", None)
    whole = sum(end <= cut for end in ends)
    assert got[:whole] == texts[:whole]
    assert got == texts[: len(got)]
    if cut < len(packed) - 1 and cut not in ends and suffix:
        assert bad


@QUICK
@given(
    texts=st.lists(WORDS, min_size=1, max_size=6),
    suffix=SUFFIX,
    where=st.integers(0, 999_999),
    junk=st.binary(min_size=1, max_size=20),
)
@example(texts=["ww"], suffix="", where=100_000, junk=b"\0\0\0")  # UTF-32 to json.loads, and not to its decoder
@example(texts=["ww"], suffix="", where=0, junk=b"\xff\xfe\0\0")
@example(texts=["ww"], suffix="", where=0, junk=b"\0{\0")
def test_jsonl_overwritten_anywhere(texts, suffix, where, junk):
    packed, ends = pack([json.dumps({"text": t}).encode() + b"\n" for t in texts], suffix)
    at = where * len(packed) // 1_000_000
    got, _ = read(packed[:at] + junk + packed[at + len(junk) :], f"a.jsonl{suffix}", None)
    whole = sum(end <= at for end in ends)
    assert got[:whole] == texts[:whole]


@QUICK
@given(st.integers(1, 4), SUFFIX, st.data())
def test_warc_cut_anywhere(extractor, count, suffix, data):
    texts = [f"Page number {i} tells of one thing and no other." for i in range(count)]
    packed, ends = pack([record(i, page(t)) for i, t in enumerate(texts)], suffix)
    cut = data.draw(st.integers(0, len(packed)))
    got, bad = read(packed[:cut], f"a.warc{suffix}", extractor)
    whole = sum(end <= cut for end in ends)
    assert [t.strip() for t in got[:whole]] == texts[:whole]
    assert len(got) <= whole + 1
    if cut not in ends:
        assert bad


@QUICK
@given(st.integers(1, 4), SUFFIX, st.data())
def test_warc_overwritten_anywhere(extractor, count, suffix, data):
    texts = [f"Page number {i} tells of one thing and no other." for i in range(count)]
    packed, ends = pack([record(i, page(t)) for i, t in enumerate(texts)], suffix)
    at = data.draw(st.integers(0, len(packed) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=30))
    got, _ = read(packed[:at] + junk + packed[at + len(junk) :], f"a.warc{suffix}", extractor)
    whole = sum(end <= at for end in ends)
    assert [t.strip() for t in got[:whole]] == texts[:whole]


@QUICK
@given(st.binary(max_size=400), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"WARC/1.0\r\n", b"PK"]))
def test_any_bytes_at_all(extractor, data, head):
    for name in ("a.warc", "a.jsonl"):
        texts, bad = read(head + data, name, extractor)
        assert texts == []
        assert bad or not (head + data).strip()
