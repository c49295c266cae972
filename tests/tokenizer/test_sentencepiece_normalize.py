import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.core.errors import FormatError
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.sentencepiece_normalize import Normalizer, sentencepiece_normalize
from tokenizer import pieces
from tokenizer.scripts import SAMPLES, TEXT
from tokenizer.sentencepiece_trained import SETTINGS, trained

OP = "sentencepiece_normalize"
PIECES = [("▁", -3.0), ("a", -3.0), ("b", -3.0), ("<s e>", 0.0, 4), ("  ", 0.0, 4), ("Ⅳx", 0.0, 4)]


def normalizer_of(rows=PIECES, inside=False, **options):
    return Normalizer(sentencepiece_file.parse(pieces.model(rows, **options), "m"), inside=inside)


def texts_of(normalizer, texts, impl, **kwargs):
    column = sentencepiece_normalize(normalizer, from_texts(texts), impl=impl, **kwargs)
    return [column[n] for n in range(len(column))]


@pytest.mark.parametrize(
    ("options", "text", "normal"),
    [
        ({}, "  a   b ", "▁a▁▁b"),  # two spaces are a symbol: it stays, but the space behind it goes
        ({"remove_extra": False}, " a  b ", "▁▁a▁▁b▁"),
        ({"dummy_prefix": False}, " a b", "a▁b"),
        ({"suffix": True}, "a b", "a▁b▁"),
        ({}, " ", ""),
        ({}, "", ""),
        ({"dummy_prefix": False}, "a<s e> b", "a<s▁e>▁b"),
        ({}, "a\u2581\u2581", "▁a"),
    ],
)
def test_worked_by_hand(impl, options, text, normal):
    assert texts_of(normalizer_of(**options), [text], impl) == [normal.encode()]


@given(data=st.data(), text=st.text("  ab▁<>s eⅣx\ufdfa\n", max_size=20))
def test_any_symbols_and_options_give_theirs(data, text):
    spm = pytest.importorskip("sentencepiece")
    names = data.draw(st.lists(st.text(" ab<▁", min_size=1, max_size=4), max_size=4, unique=True))
    flags = {name: data.draw(st.booleans()) for name in ("dummy_prefix", "remove_extra", "suffix")}
    rows = [("a", -1.0), *((n, 0.0, 4) for n in names if n != "a")]
    theirs = spm.SentencePieceProcessor(model_proto=pieces.model(rows, **flags))
    for impl in backend.implementations(OP):
        assert texts_of(normalizer_of(rows, **flags), [text], impl) == [theirs.normalize(text).encode()]


def test_a_byte_that_is_no_utf8_is_the_replacement_character(impl):
    normalizer = normalizer_of(dummy_prefix=False, remove_extra=False)
    broken = [b"\xff", b"a\xe4\xb8", b"\xed\xa0\x80b", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98"]
    mark = "\ufffd".encode()
    wanted = [mark, b"a" + 2 * mark, 3 * mark + b"b", 2 * mark, 4 * mark, 3 * mark]
    assert texts_of(normalizer, broken, impl) == wanted


@given(
    parts=st.lists(
        st.sampled_from(["ab", " ", "   ", "é", "漢", "𐀀", "<s e>", "Ⅳx", "▁"])
        | st.text(max_size=3)
        | st.sampled_from(
            [b"\xff", b"\x80", b"\xe4\xb8", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xf0\x8f"]
        ),
        max_size=20,
    ),
    repeats=st.integers(1, 40),
    flags=st.fixed_dictionaries({name: st.booleans() for name in ("dummy_prefix", "remove_extra", "suffix")}),
    shift=st.integers(0, 70),
)
def test_long_texts_of_any_bytes_equal_the_reference(parts, repeats, flags, shift):
    # Whole stretches are copied there, 64 bytes at a time, from wherever the last replaced string ended.
    raw = b"".join(p.encode("utf-8", "replace") if isinstance(p, str) else p for p in parts)
    text = b"x" * shift + raw * repeats
    for rows in (PIECES, [("a", -1.0)]):
        normalizer = normalizer_of(rows, **flags)
        wanted = texts_of(normalizer, [text, raw], "reference")
        for impl in backend.implementations(OP):
            assert texts_of(normalizer, [text, raw], impl) == wanted


@given(
    text=st.binary(min_size=1, max_size=4).map(lambda b: b * 3) | st.text(min_size=1, max_size=4).map(str.encode),
    place=st.integers(0, 200),
)
def test_bytes_that_are_no_utf8_are_found_at_any_place(text, place):
    normalizer = normalizer_of([("a", -1.0)], dummy_prefix=False, remove_extra=False)
    whole = b"\xc3\xa9" * (place // 2) + b"y" * (place % 2) + text + b"z" * 150
    wanted = whole.decode("utf-8", "surrogateescape")
    wanted = "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in wanted).replace(" ", "▁")
    for impl in backend.implementations(OP):
        assert texts_of(normalizer, [whole], impl) == [wanted.encode()]


def test_inside_keeps_spaces_and_adds_none(impl):
    assert texts_of(normalizer_of([("a", -1.0)], inside=True), [" a  b "], impl) == ["▁a▁▁b▁".encode()]


@pytest.fixture(scope="module", params=list(SETTINGS))
def both(request, tmp_path_factory):
    return trained("unigram", request.param, tmp_path_factory.mktemp("trained") / "t.model")


ODD = [
    "ﬁ ①Ⅳ ｱｲｳ ㍿ e\u0301",
    "\ufdfa" * 3,
    "A\u0300B\u0323\u0307",
    "\u00a8\u00a8 \u00a0a",
    "\x00\x01a\tb\r\n",
    "\ufffd a",
]
BROKEN = [b"\xffa \xe3\x81", b"e\xcc", b"\xed\xa0\x80 x", b"<sep\xff<sep>"]


def test_equals_theirs(impl, both):
    theirs, ours = both
    texts = [t.encode() for t in [*SAMPLES, *ODD, "   ", " a  b "]] + BROKEN
    assert texts_of(ours._normalizer, texts, impl) == [theirs.normalize(t) for t in texts]


@given(texts=st.lists(st.one_of(TEXT.map(str.encode), st.binary(max_size=30), st.sampled_from(BROKEN)), max_size=6))
def test_equals_the_reference_and_theirs(both, texts):
    theirs, ours = both
    for impl in backend.implementations(OP):
        for threads in (1, 3):
            assert texts_of(ours._normalizer, texts, impl, threads=threads) == [theirs.normalize(t) for t in texts]


def test_a_slice_of_a_column(impl, both):
    _, ours = both
    column = from_texts(SAMPLES)
    part = sentencepiece_normalize(ours._normalizer, TextColumn(column.data, column.offsets[2:9]), impl=impl)
    assert [part[n] for n in range(6)] == texts_of(ours._normalizer, SAMPLES[2:8], impl)


@given(
    units=st.lists(st.integers(0, 2**32 - 1), max_size=300), strings=st.binary(max_size=20), text=st.binary(max_size=40)
)
def test_a_damaged_map_is_refused_or_walked_within_its_bounds(units, strings, text):
    blob = struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + strings
    normalizer = normalizer_of(charsmap=blob)
    for impl in backend.implementations(OP):
        try:
            found = texts_of(normalizer, [text], impl)
        except FormatError:
            assert impl != "reference"
            continue
        assert found == texts_of(normalizer, [text], "reference")


def test_refusals():
    normalizer = normalizer_of()
    with pytest.raises(TypeError, match="sentencepiece_normalize: data must have dtype uint8"):
        sentencepiece_normalize(normalizer, TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
    with pytest.raises(ValueError, match="sentencepiece_normalize: impl 'x' cannot run here"):
        sentencepiece_normalize(normalizer, from_texts(["a"]), impl="x")
