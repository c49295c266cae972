import functools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core.errors import FormatError
from fasttrain.filter import word_list, word_list_ref
from fasttrain.text import columns

OP = "word_list"
LIST = """
zork
foo bar
[ambiguous]
cock
ass
hard-core
[context]
webcam*
[excuse]
clinical
moby cock
"""


def compiled(text, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(text)
    return word_list.compile_lists([word_list.read(path)])


def counts(lists, texts, impl, window=3, which=0):
    column = columns.from_texts(texts)
    which = np.full(len(texts), which, np.int32)
    return word_list.word_list(column, which, lists, window=window, threads=1, impl=impl).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 0, 0, 0]),
        ("Zork, ZORK! zorks xzork _zork zork_ foo bar foo  bar foo\n-bar foobar", [5, 0, 0, 0]),
        ("foo     bar", [0, 0, 0, 0]),  # five are more than a gap
        ("zork", [1, 0, 0, 0]),
        ("a cock", [0, 0, 1, 0]),
        ("a cock on a webcamera", [0, 1, 0, 0]),
        ("a cock on the a webcam", [0, 0, 1, 0]),  # four words from one another
        ("webcams and a cock", [0, 1, 0, 0]),
        ("webcams and then a cock", [0, 0, 1, 0]),
        ("cock ass zork", [1, 2, 0, 0]),
        ("cock clinical zork ass", [1, 0, 0, 2]),
        ("clinical a b cock", [0, 0, 0, 1]),
        ("clinical a b c cock", [0, 0, 1, 0]),
        ("cock webcam x clinical", [0, 0, 0, 1]),  # an excuse goes before context, wherever it stands
        ("moby cock", [0, 0, 0, 0]),  # the longer entry takes the shorter one's place
        ("hard core, hard-core hardcore", [0, 0, 2, 0]),
        ("cock " * 300, [0, 0, 300, 0]),
        ("cock " * 300 + "zork", [1, 3, 297, 0]),
    ],
)
def test_by_hand(impl, text, expected, tmp_path):
    lists = compiled(LIST, tmp_path)
    assert counts(lists, [text, "x" * 33 + " " + text, "é " + text], impl) == [expected] * 3


@pytest.mark.parametrize(
    ("entry", "text", "hits"),
    [
        ("悪い", "とても悪い悪いこと", 2),
        ("グロ", "グローバルとグロ、グロい", 2),  # a word of katakana ends where katakana does
        ("sm女王", "SM女王 xsm女王 のsm女王の", 2),
        ("кот", "Кот КОТ коты кот_", 2),
        ("कुत्ता", "कुत्ता कुत्ताें", 1),  # a vowel sign goes on with the word
        ("ก้", "กก้ก ก", 1),
        ("ก", "ก้ กข", 1),  # no end before a mark
        ("c++", "C++ c++x xc++ c+", 2),
        ("🖕", "🖕🖕 a🖕", 3),
        ("k", "K k ok", 2),  # the Kelvin sign
        ("straße", "STRAßE STRASSE straße.", 2),
        ("i̇x", "İx", 0),  # U+0130 stays as it is
        ("ab*", "abc ab xab ABBA", 3),
        ("a-b c", "a b c a - b\tc a\u00a0b-c", 3),
    ],
)
def test_scripts(impl, entry, text, hits):
    entries = {}
    word_list.add(entries, entry, "words")
    lists = word_list.compile_lists([entries])
    assert counts(lists, [text, "a" * 40 + " " + text + " " + "b" * 40], impl) == [[hits, 0, 0, 0]] * 2


@functools.cache
def every_character():
    """Of the large ranges of one kind (unassigned, private, Han, Hangul) each 97th stands for all."""
    return [
        c
        for c in map(chr, (*range(0xD800), *range(0xE000, 0x110000)))
        if unicodedata.category(c) not in {"Cn", "Co", "Lo"} or ord(c) % 97 == 0 or ord(c) < 0x3100
    ]


@functools.cache
def every_character_between_letters():
    """Lists, texts and the reference's answer, once for all implementations."""
    entries = {}
    for entry in ("x", "ü", "の"):
        word_list.add(entries, entry, "words")
    lists = word_list.compile_lists([entries])
    texts = [f"x{c}x {c}ü{c} の{c}の" for c in every_character()]
    return lists, texts, [list(word_list_ref.count(t.encode(), lists.entries[0], 3)) for t in texts]


def test_every_character_has_the_reference_s_case_and_kind(impl):
    if impl == "reference":
        pytest.skip("compared with itself")
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip("the tables are of Unicode 14.0.0")
    lists, texts, wanted = every_character_between_letters()
    assert counts(lists, texts, impl) == wanted
    characters = every_character()
    lists = word_list.compile_lists(
        [{f"{word_list_ref.lower(c)}q": 1 for c in characters if not word_list_ref.is_gap(c)}]
    )
    found = counts(lists, [f"{c}q" for c in characters], impl)
    gaps = [i for i, c in enumerate(characters) if word_list_ref.is_gap(c)]
    assert [i for i, row in enumerate(found) if row != [1, 0, 0, 0]] == gaps


PARTS = [
    "zork", "Zork", "foo", "bar", "foo bar", "cock", "ass", "webcam", "webcams", "clinical", "moby", " ", "  ", "-",
    "_", "\n", "\u00a0", "é", "漢", "の", "グ", "ก", "้", "क", "\u0301", "K", "😀", "x", ".",
    "ÿ", "\u00ad",
]  # fmt: skip
ENTRIES = st.dictionaries(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("".join),
    st.tuples(st.sampled_from(sorted(word_list.SECTIONS)), st.booleans()),
    max_size=8,
)


@given(
    lists=st.lists(ENTRIES, min_size=1, max_size=3),
    texts=st.lists(st.lists(st.sampled_from(PARTS), max_size=40).map("".join), max_size=4),
    raw=st.lists(st.binary(max_size=40), max_size=2),
    window=st.integers(0, 6),
    data=st.data(),
)
@settings(max_examples=300)
def test_equals_reference(impl, lists, texts, raw, window, data):
    if impl == "reference":
        pytest.skip("compared with itself")
    made = []
    for chosen in lists:
        entries = {}
        for entry, (section, is_open) in chosen.items():
            word_list.add(entries, entry + "*" * is_open, section)
        made.append(entries)
    compiled_lists = word_list.compile_lists(made)
    column = columns.from_texts([*texts, *raw])
    which = np.array([data.draw(st.integers(-1, len(made) - 1)) for _ in range(len(column))], np.int32)
    found = word_list.word_list(column, which, compiled_lists, window=window, threads=2, impl=impl)
    expected = word_list.word_list(column, which, compiled_lists, window=window, impl="reference")
    assert found.tolist() == expected.tolist()


def test_sections_and_later_entries(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("# first\nA  b\nc*\n*\n-\n\n[ excuse ]\na-B\n")
    assert word_list.read(path) == {"a b": 4, "c": 1 + word_list_ref.OPEN, "*": 1}
    path.write_text("a\n[excuses]\n")
    with pytest.raises(
        FormatError,
        match=r"line 2 must name a section \(\[words\], \[ambiguous\], \[context\], \[excuse\]\), got '\[excuses\]'",
    ):
        word_list.read(path)


def test_refusals():
    lists = word_list.compile_lists([{"a": 1}])
    column, which = columns.from_texts(["a"]), np.zeros(1, np.int32)
    with pytest.raises(TypeError, match="word_list: which must have dtype int32, got int64"):
        word_list.word_list(column, which.astype(np.int64), lists)
    with pytest.raises(ValueError, match="word_list: which must be -1 to 0, got 1 to 1"):
        word_list.word_list(column, which + 1, lists)
    with pytest.raises(ValueError, match="word_list: window must be 0 to 255 words, got 256"):
        word_list.word_list(column, which, lists, window=256)
    with pytest.raises(ValueError, match="word_list: impl 'x' cannot run here"):
        word_list.word_list(column, which, lists, impl="x")
    none = word_list.compile_lists([])
    assert word_list.word_list(column, which - 1, none).tolist() == [[0, 0, 0, 0]]


def test_threads_and_slices(impl):
    lists = word_list.compile_lists([{"a": 1, "b": 2}, {"c": 1}])
    texts = [("a b c " * (n % 7)) for n in range(200)]
    column = columns.from_texts(texts)
    which = (np.arange(200) % 3 - 1).astype(np.int32)
    one = word_list.word_list(column, which, lists, threads=1, impl=impl)
    assert (word_list.word_list(column, which, lists, threads=4, impl=impl) == one).all()
    part = columns.TextColumn(column.data, column.offsets[50:151])
    assert (word_list.word_list(part, which[50:150], lists, threads=1, impl=impl) == one[50:150]).all()
