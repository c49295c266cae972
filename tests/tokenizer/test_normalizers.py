"""Normalisers against those of Hugging Face tokenizers 0.23: every scalar, every mark in company, any text."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace
from tokenizers import normalizers as theirs

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.text import columns
from fasttrain.tokenizer import Tokenizer, normalize_tables, train_bpe
from fasttrain.tokenizer.convert import to_tiktoken
from fasttrain.tokenizer.extend import extend
from fasttrain.tokenizer.judge import Judge
from fasttrain.tokenizer.normalize_ref import characters
from fasttrain.tokenizer.normalizers import Normalizer
from tokenizer.scripts import SAMPLES, TEXT

PLAIN = train_bpe(SAMPLES * 4, vocab_size=420)
SCALARS = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
MARKS = "\u0334\u093c\u3099\u094d\u05b0\u0321\u0316\u0301\u0315\u035c\u0345"
FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
BERT = [
    {"type": "BertNormalizer", "clean_text": a, "handle_chinese_chars": b, "strip_accents": c, "lowercase": d}
    for a, b, c, d in [(True, True, None, True), (True, True, None, False), (False, True, True, False),
                       (True, False, False, True)]
]  # fmt: skip
SIMPLE = [*({"type": form} for form in [*FORMS, "Lowercase", "StripAccents", "Nmt"]), *BERT]
CHANGING = [
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": False, "strip_right": False},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Replace", "pattern": {"String": "a.(é"}, "content": r"\1"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    {"type": "Replace", "pattern": {"Regex": r"[ab]+\."}, "content": r"x\g<0>"},
    {"type": "Replace", "pattern": {"Regex": "é{2}[\n漢]"}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
    {"type": "Replace", "pattern": {"Regex": r"(?:a|\p{M}+)[^\sb-d]*?(?=é|\S)"}, "content": "<ü>"},
]
STEPS = SIMPLE + CHANGING
COMPANY = st.text(
    st.one_of(st.sampled_from("aeAΣσς éÉ\n\u1161\u11a8\u1100" + MARKS), st.characters(exclude_categories=["Cs"])),
    max_size=12,
)


def reference(data):
    """The normaliser as tokenizers reads it."""
    return HuggingFace.from_str(json.dumps(_file(data))).normalizer


def _file(data, added=()):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added), "normalizer": data,
            "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "vocab": {}, "merges": []}}  # fmt: skip


@pytest.mark.parametrize("data", SIMPLE, ids=lambda d: json.dumps(d)[:110])
def test_every_scalar(data):
    ours, theirs_ = Normalizer(data, "test"), reference(data)
    for k in range(0, len(SCALARS), 50_000):
        text = "\n".join(SCALARS[k : k + 50_000])
        made, wanted = ours(text), theirs_.normalize_str(text)
        assert made == wanted, [hex(ord(c)) for c in SCALARS[k : k + 50_000] if ours(c) != theirs_.normalize_str(c)][:9]


@pytest.mark.parametrize("data", [{"type": "NFC"}, {"type": "NFKD"}], ids=lambda d: d["type"])
@pytest.mark.parametrize("form", ["a{c}{m}", "a{m}{c}"])
def test_every_character_that_moves_or_combines_beside_marks(data, form):
    """Those that any version moves: combining classes of Python's, and all that the table says is newer."""
    newer = [c for c in SCALARS if unicodedata.combining(c) or unicodedata.decomposition(c)]
    newer += _expanded(normalize_tables.NEWER)
    ours, theirs_ = Normalizer(data, "test"), reference(data)
    for mark in MARKS:
        text = "\n".join(form.format(c=c, m=mark) for c in newer)
        assert ours(text) == theirs_.normalize_str(text)


@pytest.mark.parametrize("form", FORMS)
def test_every_pair_that_composes(form):
    pairs = [d.split() for c in SCALARS if (d := unicodedata.decomposition(c)) and "<" not in d]
    text = "\n".join("".join(chr(int(p, 16)) for p in pair) for pair in pairs)
    assert Normalizer({"type": form}, "test")(text) == reference({"type": form}).normalize_str(text)


def _expanded(table):
    spans = [[int(c, 16) for c in part.split("-")] for part in table.split()]
    return [chr(c) for span in spans for c in range(span[0], span[-1] + 1)]


def test_every_white_space():
    ours = Normalizer({"type": "Strip", "strip_left": True, "strip_right": True}, "test")
    theirs_ = theirs.Strip()
    assert [c for c in SCALARS if ours(c + "x") == "x"] == [c for c in SCALARS if theirs_.normalize_str(c + "x") == "x"]


def test_tables_name_each_character_once():
    assert characters("41 43-45") == set("ACDE")
    for table in (normalize_tables.NEWER, normalize_tables.MARKS, normalize_tables.WORD):
        found = _expanded(table)
        assert found == sorted(set(found))


@settings(max_examples=300)
@given(COMPANY, st.lists(st.sampled_from(STEPS), max_size=4))
def test_sequences_of_any_on_any_text(text, steps):
    data = {"type": "Sequence", "normalizers": steps}
    assert Normalizer(data, "test")(text) == reference(data).normalize_str(text)


@pytest.mark.parametrize("data", CHANGING, ids=lambda d: json.dumps(d)[:60])
@given(text=st.text(st.sampled_from("ab. \n\t\x1c\x85é漢(\u2028\u3000\u200b"), max_size=30))
def test_what_changes_texts(data, text):
    assert Normalizer(data, "test")(text) == reference(data).normalize_str(text)


@pytest.fixture(
    scope="module", params=[*STEPS[:8], CHANGING[4], CHANGING[7], CHANGING[10]], ids=lambda d: json.dumps(d)[:40]
)
def normalized(request, tmp_path_factory):
    """(our tokenizer, theirs) of a file with the normaliser."""
    path = tmp_path_factory.mktemp("normalized") / "tokenizer.json"
    PLAIN.save(path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"normalizer": request.param}))
    return Tokenizer.load(path), HuggingFace.from_file(str(path))


@given(text=st.one_of(TEXT, COMPANY))
def test_ids_equal_theirs(normalized, text):
    ours, theirs_ = normalized
    text = text.replace("<|", "")
    wanted = theirs_.encode(text).ids
    assert ours.encode(text).tolist() == wanted
    assert ours.encode(text, allow_special=True).tolist() == wanted
    assert ours.encode_batch([text], impl="reference")[0].tolist() == wanted
    assert ours.decode(wanted) == theirs_.normalizer.normalize_str(text)


def test_it_is_saved_and_read_back(normalized, tmp_path):
    ours, theirs_ = normalized
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == ours.fingerprint != PLAIN.fingerprint
    back = HuggingFace.from_file(str(tmp_path / "tokenizer.json"))
    for text in SAMPLES:
        assert back.encode(text).ids == theirs_.encode(text).ids == again.encode(text).tolist()


def test_a_normal_column_is_not_copied():
    ascii_ = columns.from_texts(["plain text", "", "more"])
    normal = columns.from_texts(["é is composed", "漢"])
    nfc = Normalizer({"type": "NFC"}, "test")
    assert nfc.column(ascii_) is ascii_
    assert nfc.column(normal) is normal
    assert nfc.column(columns.from_texts(["e\u0301"]))[0] == "é".encode()
    assert nfc.column(columns.from_texts([])).num_bytes == 0


@given(st.lists(st.binary(max_size=12), max_size=3))
def test_bytes_that_are_no_utf8_pass(texts):
    nfc = Normalizer({"type": "NFC"}, "test").column(columns.from_texts(texts))
    for n, raw in enumerate(texts):
        assert nfc[n].decode("utf-8", "surrogateescape") == unicodedata.normalize(
            "NFC", raw.decode("utf-8", "surrogateescape")
        ) or any(c in raw.decode("utf-8", "surrogateescape") for c in _expanded(normalize_tables.NEWER))


def test_what_it_measures_is_the_text_as_it_was(normalized):
    ours, theirs_ = normalized
    texts = [t.replace("<|", "") for t in SAMPLES]
    judge = Judge(ours)
    judge.add(columns.from_texts(texts), [("s", "und")] * len(texts))
    total = judge.figures()["total"]
    assert total["bytes"] == sum(len(t.encode()) for t in texts)
    assert total["tokens"] == sum(len(theirs_.encode(t).ids) for t in texts)


@pytest.mark.parametrize("pattern", [{"Regex": r"\d"}, {"Regex": ""}, {"String": ""}, {"String": 1}, {}, None])
def test_patterns_of_replace_that_are_refused(pattern):
    with pytest.raises(FormatError, match=r"test: normalizer Replace (by|must have a pattern)"):
        Normalizer({"type": "Replace", "pattern": pattern, "content": ""}, "test")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "ByteLevel"}, "normalizer 'ByteLevel' is not supported; NFC, NFD"),
        ({"type": "BertNormalizer", "clean_text": True}, "BertNormalizer.handle_chinese_chars must be true or false"),
        ({"type": "Prepend"}, "normalizer Prepend.prepend must be a text, got None"),
        ({"type": "Sequence"}, "normalizer.normalizers must be a list, got None"),
        ([], "normalizer must be an object with a type"),
    ],
)
def test_refuses(data, message):
    with pytest.raises(FormatError, match=message):
        Normalizer(data, "test")


def test_what_cannot_be_with_a_normalizer(normalized, tmp_path):
    ours, _ = normalized
    with pytest.raises(FormatError, match=".tiktoken has no place for a normaliser"):
        to_tiktoken(ours, tmp_path / "a.tiktoken")
    with pytest.raises(ConfigError, match="this vocabulary normalises text first"):
        extend(ours, columns.from_texts(["a"]), np.ones(1, np.int64), num_tokens=1)
    made, at = ours.encode_batch(["é A  b"], dropout=1.0)
    assert len(made) == at[1] == ours.normalized(["é A  b"]).num_bytes
