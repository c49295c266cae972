import functools
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.text import columns, fold_tables, shingle_ref
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import shingle

OP = "shingle"

GOLDEN = [  # text, its normalised words: the definition in examples, written by hand
    ("Hello, World!", ["hello", "world"]),
    ("don't stop_me", ["don", "t", "stop", "me"]),
    ("In 1984 3.14 B2B a007", ["in", "0", "0", "0", "b0b", "a0"]),
    ("١٢٣ ४५ １２", ["0", "0", "0"]),  # digits of other scripts, fullwidth
    ("Café CAFE\u0301 cafe", ["cafe", "cafe", "cafe"]),  # composed, decomposed, plain
    ("İstanbul ΣΊΣΥΦΟΣ σίσυφος", ["istanbul", "σισυφοσ", "σισυφοσ"]),
    ("soft\u00adhyphen zero\u200bwidth 1\u00ad2", ["softhyphen", "zerowidth", "0"]),
    ("a+b=c → d≠e © f", ["a", "b", "c", "d", "e", "f"]),
    ("日本語 text かな", ["日", "本", "語", "text", "か", "な"]),
    ("が", ["か"]),  # the voicing mark is a mark
    ("한국어", ["\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"]),  # spaced script: one word, in Jamo
    ("ไทย", ["ไ", "ท", "ย"]),
    ("हिन्दी", ["ह\u093fनद\u0940"]),  # Mc stays, Mn goes
    ("line one\nline\ttwo\u00a0three\u3000four", ["line", "one", "line", "two", "three", "four"]),
    ("😀🎉", []),
    (" .,;\n", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), GOLDEN, ids=[repr(t) for t, _ in GOLDEN])
def test_words_by_hand(text, words):
    assert shingle_ref.words(text.encode()) == words


def test_golden_hashes(impl):
    """Written down once: these numbers may never change, or every stored signature means something else."""
    grams, offsets = shingle(columns.from_texts(["the quick brown fox jumps", "日本語", "x"]), n=3, impl=impl)
    assert offsets.tolist() == [0, 3, 4, 5]
    assert [f"{g:016x}" for g in grams.tolist()] == [
        "e3d2d1a0616facfe",
        "b48e87dd0bf2eff7",
        "6bc53d4fcdd86482",
        "1f11c40f5b81ae4d",
        "64f90cfb1433542e",
    ]


@functools.cache
def all_of_unicode():
    """Every code point between letters, alone, and beside a digit, and the reference's answer, once for all."""
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    texts = [" ".join(f"a{c}b {c} 1{c}2" for c in every[i : i + 4096]) for i in range(0, len(every), 4096)]
    column = columns.from_texts([*texts[:24], texts[47], texts[224]])  # to U+17FFF; Han of planes 2 and 3, tags
    return column, shingle(column, n=1, impl="reference")


def test_equals_reference_on_all_of_unicode(impl):
    if impl == "reference":
        pytest.skip("compared with itself")
    column, want = all_of_unicode()
    got = shingle(column, n=1, impl=impl)
    np.testing.assert_array_equal(got[1], want[1])
    np.testing.assert_array_equal(got[0], want[0])


@pytest.mark.once
@pytest.mark.skipif(
    unicodedata.unidata_version != fold_tables.UNICODE_VERSION, reason="the tables are of another Unicode version"
)
def test_tables_follow_the_categories():
    for cp in range(0x110000):
        if 0xD800 <= cp <= 0xDFFF:
            continue
        c, (kind, becomes) = chr(cp), shingle_ref.fold(chr(cp))
        category = unicodedata.category(c)
        assert (kind == shingle_ref.BREAK) == (category[0] in "PSZ" or category == "Cc"), hex(cp)
        assert (kind == shingle_ref.DIGIT) == (category == "Nd"), hex(cp)
        if category in ("Mn", "Cf"):
            assert kind == shingle_ref.DROP, hex(cp)
        if kind in (shingle_ref.LETTER, shingle_ref.IDEOGRAPH):
            assert [shingle_ref.fold(x)[1] for x in becomes] == list(becomes), f"{cp:#x}: folding twice changes it"


TEXTS = st.lists(
    st.one_of(
        st.binary(max_size=120),
        st.text(max_size=80).map(str.encode),
        st.text("aZ09 .'é日か\u0301한ß", max_size=200).map(str.encode),
    ),
    max_size=8,
)


@given(TEXTS, st.integers(1, 14), st.booleans())
def test_native_equals_reference(texts, n, sets):
    column = columns.from_texts(texts)
    want = shingle(column, n=n, sets=sets, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        got = shingle(column, n=n, sets=sets, impl=impl)
        np.testing.assert_array_equal(got[1], want[1], impl)
        np.testing.assert_array_equal(got[0], want[0], impl)


@pytest.mark.parametrize(
    "unit", ["word ", "x1 9.99 ", "日本語のテキスト", "naïve café; ", "ab" * 3000 + " ", "한국어 "]
)
def test_windows_do_not_matter(impl, unit):
    """Longer than several windows of 16 KB, at shifted starts; runs without any place to cut too."""
    texts = ["-" * shift + unit * (50_000 // len(unit.encode())) for shift in (0, 1, 31, 33)]
    grams, offsets = shingle(columns.from_texts(texts), n=5, impl=impl)
    first = shingle(columns.from_texts(texts[:1]), n=5, impl="reference")[0]
    for i in range(len(texts)):
        np.testing.assert_array_equal(grams[offsets[i] : offsets[i + 1]], first)


@given(st.lists(st.text("abcXYZ 19é日.", max_size=60), max_size=10), st.integers(1, 6))
def test_invariances(texts, n):
    def grams(changed):
        return shingle(columns.from_texts(changed), n=n)[0].tolist()

    base = grams(texts)
    assert grams([t.upper() for t in texts]) == base
    assert grams([unicodedata.normalize("NFD", t) for t in texts]) == base
    assert grams([unicodedata.normalize("NFC", t) for t in texts]) == base
    assert grams([t.replace(" ", "\r\n  ") for t in texts]) == base
    assert grams([f"«{t}…" for t in texts]) == base
    assert grams([t.replace("9", "4") for t in texts]) == base


@pytest.mark.parametrize("n", [1, 2, 5])
def test_counts(impl, n):
    column = columns.from_texts([" ".join(["w"] * k) for k in range(9)])
    _, offsets = shingle(column, n=n, impl=impl)
    assert np.diff(offsets).tolist() == [0 if k == 0 else max(k - n + 1, 1) for k in range(9)]
    _, offsets = shingle(column, n=n, sets=True, impl=impl)
    assert np.diff(offsets).tolist() == [0] + [1] * 8


def test_order_of_words_matters(impl):
    a, b = (shingle(columns.from_texts([t]), n=2, impl=impl)[0].tolist() for t in ("one two one", "two one two"))
    assert a == b[::-1]
    assert len(set(a)) == 2


def test_no_collisions_on_structured_words(impl):
    """Words that differ in single characters, in both places of a pair: where weak mixing would collide."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = "\n".join(f"functio{x} functio{y}" for x in letters for y in letters)
    grams = shingle(columns.from_texts([text]), n=2, impl=impl)[0][::2]
    assert len(np.unique(grams)) == 26 * 26


def test_threads_and_slices_do_not_matter():
    column = columns.from_texts([f"document {i} has words " * (i % 40) for i in range(1000)])
    want = shingle(column, threads=1)
    np.testing.assert_array_equal(shingle(column, threads=3)[0], want[0])
    part = TextColumn(column.data, column.offsets[500:])
    np.testing.assert_array_equal(shingle(part)[0], want[0][want[1][500] :])


@pytest.mark.parametrize(
    ("data", "offsets", "n", "error", "words"),
    [
        (np.zeros(3, np.int8), np.array([0, 3]), 5, TypeError, "shingle: data must have dtype uint8, got int8"),
        (np.zeros(3, np.uint8), np.array([0, 4]), 5, ValueError, "offsets must rise from 0 to at most 3"),
        (np.zeros(3, np.uint8), np.array([0, 3]), 0, ValueError, "n must be 1 to 64 words, got 0"),
    ],
)
def test_refuses(data, offsets, n, error, words):
    with pytest.raises(error, match=words):
        shingle(TextColumn(data, offsets), n=n)
