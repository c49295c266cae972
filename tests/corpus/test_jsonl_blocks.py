"""Blocks of JSONL lines against lines one by one: the same batches, ledger rows and counts, whatever is in a line."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.intakes import read_bytes
from fasttrain.corpus import jsonl, jsonl_blocks, text_alone
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.text.columns import from_texts

GOOD = st.builds(
    lambda text, more: json.dumps({"text": text, **more}, ensure_ascii=len(text) % 2 == 0).encode(),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(lambda t: f"w{t}"),
    st.dictionaries(
        st.sampled_from(["id", "a", "b"]), st.one_of(st.integers(), st.none(), st.text(max_size=3)), max_size=2
    ),
)
ODD = st.sampled_from(
    [
        b"", b" ", b"\r", b"\x0c", b"{}", b"[]", b"1", b'{"text":""}', b'{"text":" \\n"}', b'{"text":null}',
        b'{"text":7}', b'{"text":"a"}{"text":"b"}', b'{"text":"a"', b'"text":"a"}',
        b'{"text":"a","text":"b"}', b'{"text":"a",}', b'{"text":"\\ud800"}', b'{"text":"\\udc00x"}',
        b'{"text":"\\ud83d\\ude00"}', b'{"text":"\\ufeffx"}',
        b'{"text":"a\x01b"}', b'\xef\xbb\xbf{"text":"a"}', b'{"text":"\xff"}', b'{"text":"a","x":"\xff"}',
        b'{"text":"a","x":NaN}', b'{"text":"a","x":Inf}', b'{"text":"a","x":-Infinity}',
        b'{"text":"a","x":01}', b'{"text":"a","x":1e999}', b' {"text":"a"}', b'{"text":"a"} ',
        b'{"text":"a"}\r', b'{"text":{"text":"a"}}', b'{"x":{"text":"a"}}',
        b'{"text":"\\u0000"}', b'{"text":"\\x"}', b'{"text":"a","x":"Inf ,"}', b'{"te\\u0078t":"a"}',
        b'{"text":"' + b"long" * 300 + b'"}', b'{"text":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"text":' + b"[" * 5000 + b"]" * 5000 + b"}", b' {"text":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"text":"a","x":' + b"[" * 5000 + b"]" * 4999 + b"}", b'{"x":' * 5000 + b"1" + b"}" * 5000,
        b"{\x00}", b'{"text":"a"//b\n}', b'{\0\0\0"text":"a"}', '{"text":"a"}'.encode("utf-16-le"),
    ]
)  # fmt: skip
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def both(monkeypatch, data, name="x.jsonl", **how):
    """What is read in blocks of a few bytes; checked against lines one by one."""
    monkeypatch.setattr(jsonl_blocks, "BLOCK", 64)
    monkeypatch.setattr("fasttrain.corpus.streams._READ", 16)
    found = read_bytes(jsonl.read, data, name, **how)
    with monkeypatch.context() as patch:
        patch.setattr(text_alone, "suits", lambda source: False)
        wanted = read_bytes(jsonl.read, data, name, **how)
    assert found == wanted
    return found


@QUICK
@given(
    lines=st.lists(st.one_of(GOOD, GOOD, ODD), max_size=12),
    ends=st.booleans(),
    max_bytes=st.sampled_from([40, 600, 4000, 20_000]),
)
def test_any_lines(monkeypatch, lines, ends, max_bytes):
    both(monkeypatch, b"\n".join(lines) + b"\n" * ends, max_bytes=max_bytes)


def test_each_odd_line_between_good_ones(monkeypatch):
    for line in ODD.elements:
        data = b'{"text":"before"}\n' * 5 + line + b"\n" + b'{"text":"behind"}\n' * 5
        both(monkeypatch, data, max_bytes=20_000)


def test_nesting_that_python_refuses_is_read_wherever_it_stands():
    deep = b'{"text":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}\n"
    for data in (deep, deep + b"no\n"):
        documents, bad, _ = read_bytes(jsonl.read, data, "x.jsonl", max_bytes=20_000)
        assert [d["text"] for d in documents] == ["a"]
        assert bad == ["quarantine:not_json"] * (b"no" in data)


def test_lines_are_taken_in_blocks(monkeypatch):
    """Else the test above would compare nothing."""
    taken = []
    texts = Intake.texts
    monkeypatch.setattr(
        Intake, "texts", lambda self, column, name, first: taken.append(first) or texts(self, column, name, first)
    )
    documents, _, _ = both(monkeypatch, b'{"text":"one"}\n' * 40)
    assert len(taken) > 5
    assert taken[0] == 1
    assert [d["origin"] for d in documents] == [f"x.jsonl#{n}" for n in range(1, 41)]


@pytest.mark.parametrize("rows", [7, 4096])
def test_batches_end_where_they_do_line_by_line(monkeypatch, rows):
    monkeypatch.setattr("fasttrain.corpus.intake._ROWS", rows)
    monkeypatch.setattr(jsonl_blocks, "BLOCK", 300)
    monkeypatch.setattr("fasttrain.corpus.streams._READ", 100)
    data = b"".join(json.dumps({"text": "x" * (n % 50 + 1)}).encode() + b"\n" for n in range(300))
    data = data[:2000].rsplit(b"\n", 1)[0] + b"\nno\n" + data[2000:].split(b"\n", 1)[1]

    def sizes(max_batch_bytes):
        config = CorpusConfig.load({"sources": [{"name": "s", "path": "."}]})
        found = []
        intake = Intake(config.sources[0], config, found.append, lambda rows: None, max_batch_bytes=max_batch_bytes)
        (folder / "x.jsonl").write_bytes(data)
        jsonl.read(LakeFile(folder / "x.jsonl", "x.jsonl", "", len(data), ""), intake)
        intake.flush()
        return found

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for limit in (100, 999, None):
            blocks = sizes(limit)
            with monkeypatch.context() as patch:
                patch.setattr(text_alone, "suits", lambda source: False)
                lines = sizes(limit)
            assert [b.num_rows for b in blocks] == [b.num_rows for b in lines]
            assert all(a.equals(b) for a, b in zip(blocks, lines, strict=True))


def test_an_origin_that_another_record_has_gets_a_number():
    """A record of the same origin, before or behind a block, alone or in one."""
    config = CorpusConfig.load({"sources": [{"name": "s", "path": "."}]})
    found = []
    intake = Intake(
        config.sources[0], config, lambda batch: found.extend(batch.column("origin").to_pylist()), lambda rows: None
    )
    intake.document(b"a", "f#3")
    assert not intake.texts(from_texts(["a", "b", "c"]), "f", 1)
    assert intake.texts(from_texts(["a", "b"]), "f", 1)
    assert not intake.texts(from_texts(["a"]), "f", 2)
    intake.document(b"a", "f#2")
    intake.document(b"a", "f#02")
    intake.flush()
    assert found == ["f#3", "f#1", "f#2", "f#2 (2)", "f#02"]
    assert intake.counts["repeated_origins"] == 1
