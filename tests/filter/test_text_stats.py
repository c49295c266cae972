import functools
import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.filter import text_stats_ref
from fasttrain.filter.line_edit import C4Rules, RefinedWebRules
from fasttrain.filter.text_stats import COLUMN, NAMES, stats_and_edits, text_stats
from fasttrain.text import columns
from filter.texts import FRAGMENTS, texts

OP = "text_stats"


def one(text, impl=None, **options):
    return dict(zip(NAMES, text_stats(columns.from_texts([text]), impl=impl, **options)[0].tolist()))


def same(batch, impl, edit=0, wanted=None, **options):
    column, bits = columns.from_texts(batch), np.resize(np.uint8(edit), len(batch))
    found, _ = stats_and_edits(column, bits, impl=impl, **options)
    if wanted is None:
        wanted, _ = stats_and_edits(column, bits, impl="reference", **options)
    for n, k in np.argwhere(found != wanted):
        raise AssertionError(f"{NAMES[k]} of {batch[n]!r}, edit {bits[n]}: {found[n, k]}, reference {wanted[n, k]}")


@functools.cache
def reference(batch, edit):
    """The reference's answer, once for all implementations."""
    bits = np.resize(np.uint8(edit), len(batch))
    return stats_and_edits(columns.from_texts(batch), bits, impl="reference")[0]


RULES = st.builds(
    C4Rules, *([st.booleans()] * 6), min_words=st.integers(0, 4), max_word_chars=st.sampled_from([0, 3, 20, 1000])
)
REFINEDWEB = st.builds(
    RefinedWebRules, max_uppercase=st.sampled_from([0.0, 0.3, 0.5, 1.0]), numeric=st.booleans(), counters=st.booleans(),
    min_words=st.integers(0, 3), phrases=st.booleans(), max_phrase_words=st.sampled_from([0, 4, 10]),
)  # fmt: skip
EDITS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@settings(max_examples=80)
@given(st.lists(texts, max_size=6), EDITS, RULES, REFINEDWEB, st.integers(0, 40))
def test_equals_reference(impl, batch, edit, rules, refinedweb, short):
    same(batch, impl, edit, c4=rules, refinedweb=refinedweb, short_line_chars=short)


def test_equals_reference_on_every_pair_of_fragments(impl):
    if impl == "reference":
        pytest.skip("compared with itself")
    # 0..63 letters ahead, so that every fragment crosses the edge of 64 bytes at some place.
    pairs = tuple("x" * (i % 64) + a + b + a for i, (a, b) in enumerate(itertools.product(FRAGMENTS, repeat=2)))
    same(pairs, impl, (0, 1, 2, 3), reference(pairs, (0, 1, 2, 3)))


def test_every_code_point_has_its_class(impl):
    if impl == "reference":
        pytest.skip("compared with itself")
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    batch = tuple("a ".join(points[i : i + 4096]) for i in range(0, 0x30000, 4096))
    same(batch, impl, 0, reference(batch, 0))


def test_no_terminal_mark_is_a_word_character():
    assert not any(text_stats_ref.char_class(c) & 7 for c in text_stats_ref.TERMINAL_SET)
    assert unicodedata.unidata_version >= "14"


# The values below were worked by hand.
POEM = "The #1 cat... sat.\n\n- It sat; and sat\n- It sat; and sat\nlorem ipsum…"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chars", 68),
        ("newlines", 4),
        # The # 1 cat ... sat . - It sat ; and sat - It sat ; and sat lorem ipsum …
        ("words", 22),
        ("text_words", 14),  # without # ... . - ; - ; … : 22 - 8
        ("text_word_chars", 3 + 1 + 3 + 3 + 2 * (2 + 3 + 3 + 3) + 5 + 5),
        ("alpha_words", 13),  # "1" has no letter
        ("stop_words", 1),  # "and"; "The" is another word
        ("hashes", 1),
        ("ellipses", 2),
        ("lines", 5),
        ("bullet_lines", 2),
        ("ellipsis_lines", 1),
        ("paragraphs", 2),
        ("dup_paragraphs", 0),
        ("repetition_lines", 4),
        ("dup_lines", 1),
        ("dup_line_chars", 17),
        ("left_full_lines", 4),
        ("left_punct_lines", 1),  # "…" is not a terminal mark
        ("left_short_lines", 4),
        ("left_full_dup_chars", 17),
        # "- It", "It sat", "sat ;", "; and", "and sat" occur twice each; "- It" comes first: (1 + 1 + 2) * 2
        ("top_2_gram_chars", 8),
        ("top_3_gram_chars", 16),  # "- It sat"
        ("top_4_gram_chars", 20),  # "- It sat ;"
        ("dup_5_gram_chars", 10),  # "- It sat ; and" without spaces, once; then five words do not fit before "lorem"
        ("dup_6_gram_chars", 13),
        ("dup_7_gram_chars", 0),
        ("c4_kept_lines", 1),
        ("c4_sentences", 1),
        ("c4_unpunctuated_lines", 4),
    ],
)
def test_golden(impl, name, value):
    assert one(POEM, impl)[name] == value


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("don't it’s U.S. end.", ["don't", "it’s", "U.S", ".", "end", "."]),
        ("1,000.5 a,b 'x'", ["1,000.5", "a", ",", "b", "'", "x", "'"]),
        ("well-known---x", ["well", "-", "known", "---", "x"]),
        ("漢字かなAB１", ["漢", "字", "か", "な", "AB１"]),
        ("हिन्दी co\u00adop", ["हिन्दी", "co\u00adop"]),
        ("!!?? ……", ["!!", "??", "……"]),
    ],
)
def test_segmentation(impl, text, tokens):
    assert text_stats_ref.words(text) == tokens
    assert one(text, impl)["words"] == len(tokens)


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three? Four.", 4),
        ("J. Smith of the U.S. went home. He slept.", 2),
        ('He said "Go." Then left. ... And came.', 3),
        ("See 3.14 and a.b.c. Yes.", 1),  # "c" is a word of one letter
        ("これは。それは！あれ.", 3),
        ("Cited here.[12] Next one.", 2),
    ],
)
def test_sentences(impl, line, sentences):
    assert one(line, impl, c4=C4Rules(min_words=0))["c4_sentences"] == sentences


PROSE = st.lists(st.text("abc ,.", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=12, unique=True)


@given(PROSE)
def test_doubling_every_line_doubles_what_is_repeated(lines):
    single, double = one("\n".join(lines)), one("\n".join([*lines, *lines]))
    assert single["dup_lines"] == 0
    assert double["dup_lines"] == len(lines) == double["repetition_lines"] / 2
    assert double["dup_line_chars"] == sum(map(len, lines))
    assert double["words"] >= single["words"]
    for n in range(5, 11):
        assert double[f"dup_{n}_gram_chars"] >= single[f"dup_{n}_gram_chars"]


@given(texts)
def test_bounds(text):
    s = one(text)
    assert s["letters"] + s["spaces"] <= s["chars"] == len(text)
    assert s["text_words"] <= s["words"] <= s["chars"]
    assert s["dup_lines"] <= s["repetition_lines"] == len(re.split("\n+", text)) or not text
    assert max(s[f"dup_{n}_gram_chars"] for n in range(5, 11)) <= s["chars"]
    assert (
        s["lines"]
        == len(text.splitlines())
        == s["c4_kept_lines"]
        + sum(v for k, v in s.items() if k.startswith("c4_") and k.endswith("_lines") and k != "c4_kept_lines")
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_matter(threads):
    column = columns.from_texts([f"line {i % 7}\nthe cat sat. " * (i % 19) for i in range(700)])
    np.testing.assert_array_equal(text_stats(column, threads=threads), text_stats(column, threads=1))


def test_a_slice_counts_as_itself(impl):
    array = pa.array(["drop", "keep this.", "", "κόσμε " * 9], pa.large_string())
    whole, part = columns.from_arrow(array), columns.from_arrow(array.slice(1, 3))
    np.testing.assert_array_equal(text_stats(whole, impl=impl)[1:], text_stats(part, impl=impl))


@pytest.mark.parametrize(
    "bad",
    [b"\x80", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
     b"\xf4\x90\x80\x80", b"\xff", b"\xf5\x80\x80\x80", b"\xe2\x28\xa1"],
)  # fmt: skip
@pytest.mark.parametrize("ahead", [0, 61, 63, 64])
def test_bad_utf8_is_named(impl, bad, ahead):
    column = columns.from_texts(["good", b"x" * ahead + bad + b"y"])
    with pytest.raises(ValueError, match=f"text_stats: text 1 must be valid UTF-8, got a bad byte at {ahead};"):
        text_stats(column, impl=impl)


def test_refuses():
    column = columns.from_texts(["a"])
    with pytest.raises(TypeError, match="text_stats: out must have dtype int64"):
        text_stats(column, out=np.zeros((1, len(NAMES)), np.float64))
    with pytest.raises(ValueError, match=r"text_stats: out must have shape \(1, "):
        text_stats(column, out=np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match="limits must not be negative"):
        text_stats(column, short_line_chars=-1)
    assert COLUMN["bytes"] == 0
