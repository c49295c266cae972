"""Damaged and impossible tokenizer files: one error that names the file and the key."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer import Tokenizer, train_bpe
from tokenizer.scripts import SAMPLES


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "tokenizer.json"
    train_bpe(SAMPLES, vocab_size=320).save(path)
    return json.loads(path.read_text())


def added(**changes):
    plain = {"id": 900, "content": "<x>", "special": True, "lstrip": False, "rstrip": False, "single_word": False}
    return plain | changes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["model"]["vocab"].update(zz=2**32),
         r"model.vocab\['zz'\] must be an id from 0 to 2097150, got 4294967296"),
        (lambda d: d["model"]["vocab"].update(zz=2**70), r"model.vocab\['zz'\] must be an id from 0 to"),
        (lambda d: d["model"]["vocab"].update(zz=-1), r"model.vocab\['zz'\] must be an id .* got -1"),
        (lambda d: d["model"]["vocab"].update(zz="7"), r"model.vocab\['zz'\] must be an id .* got '7'"),
        (lambda d: d["model"]["vocab"].update(zz=True), r"model.vocab\['zz'\] must be an id .* got True"),
        (lambda d: d["model"]["vocab"].update(zz=300), r"model.vocab\['zz'\] has id 300, which is that of '"),
        (lambda d: d["model"].update(vocab=[]), r"model.vocab must map tokens to ids, got \[\]"),
        (lambda d: d["model"].update(merges={}), "model.merges must be a list, got {}"),
        (lambda d: d["model"]["merges"].append("abc"), r"model.merges\[\d+\] must be two tokens, got 'abc'"),
        (lambda d: d["model"]["merges"].append(["a", 3]), r"model.merges\[\d+\] must be two tokens, got \['a', 3\]"),
        (lambda d: d["model"]["merges"].append("a b c"), r"model.merges\[\d+\] must be two tokens"),
        (lambda d: d["model"]["merges"].append(["qq", "zz"]),
         "merge 'qq' . 'zz' has a part or a result outside the vocabulary"),
        (lambda d: d.update(added_tokens="x"), "added_tokens must be a list, got 'x'"),
        (lambda d: d["added_tokens"].append("x"), r"added_tokens\[1\] must have an id, a content"),
        (lambda d: d["added_tokens"].append({"content": "x", "id": 3}),
         r"added_tokens\[1\] must have an id, a content"),
        (lambda d: d["added_tokens"].append(added(content="")), r"added_tokens\[1\] must have an id, a content"),
        (lambda d: d["added_tokens"].append(added(id=2**33)),
         r"added_tokens\[1\].id \('<x>'\) must be an id from 0 to"),
        (lambda d: d["added_tokens"].append(added(id=5)),
         r"added_tokens\[1\] '<x>' has id 5, but model.vocab or another"),
        (lambda d: d["added_tokens"].extend([added(), added(content="<y>")]),
         r"added_tokens\[2\] '<y>' has id 900, but"),
        (lambda d: d["added_tokens"].append(added(content="a")), r"added_tokens\[1\] 'a' has id 900, but model.vocab"),
    ],
)  # fmt: skip
def test_what_a_tokenizer_json_must_not_hold(good, tmp_path, change, words):
    data = json.loads(json.dumps(good))
    change(data)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    with pytest.raises(FormatError, match=words) as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model": null}', '{"model": {"vocab": {}}}', "\x00\x01"])
def test_what_is_no_tokenizer_json(tmp_path, text):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(
        FormatError, match=r"tokenizer.json: (not valid JSON|must be a tokenizer.json with a BPE model)"
    ):
        Tokenizer.load(path)


@given(data=st.data())
def test_a_broken_tokenizer_json_is_a_format_error_or_a_tokenizer(good, tmp_path_factory, data):
    """Whatever value stands in place of another, at any key."""
    changed = json.loads(json.dumps(good))
    changed["model"]["merges"] = changed["model"]["merges"][:3]
    place, key = changed, None
    while isinstance(place, (dict, list)) and place and (key is None or data.draw(st.booleans())):
        outer = place
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = place[key]
    outer[key] = data.draw(st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}))
    path = tmp_path_factory.getbasetemp() / "broken.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(FormatError, match=r"broken\.json|^read$"):
        Tokenizer.load(path)
        raise FormatError("read")


def line(token, rank):
    return b"%s %d" % (base64.b64encode(token), rank)


BYTES = [line(bytes([b]), b) for b in range(256)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "must hold a line `base64 rank` for each token, got none"),
        ([*BYTES, line(b"ab", 2**32)], r":257: the rank of b'ab' must be an id from 0 to 2097150, got 4294967296"),
        ([*BYTES, line(b"ab", -4)], r":257: the rank of b'ab' must be an id"),
        ([*BYTES, line(b"ab", 256), line(b"ab", 257)], r":258: b'ab' or its rank 257 stands in an earlier line"),
        ([*BYTES, line(b"ab", 256), line(b"cd", 256)], r":258: b'cd' or its rank 256 stands in an earlier line"),
        ([*BYTES, b"YWI="], r":257: must read `base64 rank`"),
        ([*BYTES, b"Y!I= 256"], r":257: must read `base64 rank`"),
        (BYTES[1:], "must hold all 256 bytes as tokens, got 255"),
    ],
)
def test_what_a_tiktoken_file_must_not_hold(tmp_path, lines, words):
    path = tmp_path / "t.tiktoken"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(FormatError, match=words) as caught:
        Tokenizer.load(path, pattern="cl100k")
    assert str(path) in str(caught.value)


def test_special_tokens_of_a_tiktoken_file_are_ids(tmp_path):
    path = tmp_path / "t.tiktoken"
    path.write_bytes(b"\n".join(BYTES))
    with pytest.raises(FormatError, match="special token '<x>' must be an id from 0 to"):
        Tokenizer.load(path, pattern="cl100k", special_tokens={"<x>": 2**40})


def test_a_hundred_thousand_added_tokens_load(good, tmp_path):
    data = json.loads(json.dumps(good))
    data["added_tokens"] += [added(id=1000 + k, content=f"<|extra_{k}|>") for k in range(100_000)]
    data["model"]["ignore_merges"] = True
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    start = time.process_time()
    tokenizer = Tokenizer.load(path)
    assert time.process_time() - start < 20  # a second is what it takes; a quadratic pass takes minutes
    assert len(tokenizer.special_tokens) == 100_001
    assert tokenizer.encode("a<|extra_99999|>", allow_special=True)[-1] == 100_999
