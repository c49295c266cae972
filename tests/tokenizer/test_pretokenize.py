import functools
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import patterns, pretokenize_ref, unicode_ln
from fasttrain.tokenizer.pretokenize import pretokenize
from tokenizer.scripts import SAMPLES, TEXT

OP = "pretokenize"
PATTERNS = list(patterns.NUMBER)
ALSO = {e: pre_tokenizers.Split(Regex(e), "isolated") for e in patterns.ALSO_READ}
SPLIT = {
    name: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), "isolated") for e in patterns.expressions(name)])
    for name in PATTERNS
}
ONE = {name: pre_tokenizers.Split(Regex(e), "isolated") for name, e in patterns.HUGGING_FACE.items()}


def cut(text, pattern="cl100k", **kw):
    pieces, starts = pretokenize(columns.from_texts([text]), pattern=pattern, **kw)
    assert starts.tolist() == [0, len(pieces)]
    return [pieces[i] for i in range(len(pieces))]


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("cl100k", ["It", "'s", " ", " ", "123", "456", "7", " a", "!?\n\n", "  \n", " ", "\tb", " \n "]),
        ("llama3", ["It", "'s", " ", " ", "123", "456", "7", " a", "!?\n\n", "  \n", " ", "\tb", " \n", " "]),
        ("qwen2", ["It", "'s", " ", " ", *"1234567", " a", "!?\n\n", "  \n", " ", "\tb", " \n", " "]),
        ("gpt2", ["It", "'s", " ", " 1234567", " a", "!?", "\n\n  \n ", "\t", "b", " \n "]),
        ("o200k", ["It's", " ", " ", "123", "456", "7", " a", "!?\n\n", "  \n", " ", "\tb", " \n", " "]),
        ("tekken", ["It", "'s", " ", " ", *"1234567", " a", "!?\n\n", "  \n", " ", "\tb", " \n", " "]),
        ("deepseek_v3", ["It", "'s", "  ", "123", "456", "7", " a", "!?\n\n", "  \n", " ", "\tb", " \n", " "]),
        ("cl100k_superwords", ["It", "'s", " ", " ", "123", "456", "7", " a", "!?\n\n", "  \n", " ", "\tb", " \n "]),
    ],
)
def test_by_hand(impl, pattern, pieces):
    assert [p.decode() for p in cut("It's  1234567 a!?\n\n  \n \tb \n ", pattern, impl=impl)] == pieces


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("o200k", ["fast", "Train", "LLM's", "ABcd'LL", "x", "//\n/", "a", ".b"]),
        ("tekken", ["fast", "Train", "LLM", "'s", "ABcd", "'LLx", "//\n/", "a", ".b"]),
        ("deepseek_v3", ["fastTrainLLM", "'sABcd", "'LLx", "//\n", "/a", ".b"]),
    ],
)
def test_case_and_signs_by_hand(impl, pattern, pieces):
    assert [p.decode() for p in cut("fastTrainLLM'sABcd'LLx//\n/a.b", pattern, impl=impl)] == pieces


@pytest.mark.parametrize("pattern", patterns.SUPERWORDS.values())
def test_superwords_by_hand(impl, pattern):
    wanted = [
        *("it", "'s", " of the same", ",", " in", " ", " a word", " ", "12", " of", "\n"),
        *("le café noir", "'Ll", " ", " e", ".don", "'t", " you", " "),
    ]
    if pattern.startswith("qwen2"):
        wanted[8:9] = ["1", "2"]
    text = "it's of the same, in  a word 12 of\nle café noir'Ll  e.don't you "
    assert [p.decode() for p in cut(text, pattern, impl=impl)] == wanted


@given(st.text(st.sampled_from("aé漢 '.1\nst"), max_size=400), st.sampled_from(list(patterns.SUPERWORDS.values())))
def test_long_superwords_equal_tokenizers(text, pattern):
    wanted = [s for s, _ in SPLIT[pattern].pre_tokenize_str(text)]
    for impl in backend.implementations(OP):
        assert [p.decode() for p in cut(text, pattern, impl=impl)] == wanted


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("text", SAMPLES, ids=range(len(SAMPLES)))
def test_equals_tokenizers(impl, pattern, text):
    assert [p.decode() for p in cut(text, pattern, impl=impl)] == [s for s, _ in SPLIT[pattern].pre_tokenize_str(text)]


@given(TEXT, st.sampled_from(PATTERNS))
def test_any_text_equals_tokenizers(text, pattern):
    wanted = [s for s, _ in SPLIT[pattern].pre_tokenize_str(text)]
    assert [p.decode() for p in cut(text, pattern)] == wanted
    assert [p.decode() for p in pretokenize_ref.pieces(text.encode(), pattern)] == wanted
    assert [s for s, _ in ONE[pattern].pre_tokenize_str(text)] == wanted


@given(TEXT, st.sampled_from(list(ALSO)))
def test_other_spellings_are_the_pattern_that_they_are_read_as(text, expression):
    wanted = [s for s, _ in ALSO[expression].pre_tokenize_str(text)]
    assert [p.decode() for p in cut(text, patterns.named([expression], "test"))] == wanted


@given(st.lists(TEXT, max_size=6), st.sampled_from(PATTERNS))
def test_every_implementation_equals_the_reference(texts, pattern):
    column = columns.from_texts(texts)
    wanted = pretokenize(column, pattern=pattern, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        got = pretokenize(column, pattern=pattern, impl=impl)
        np.testing.assert_array_equal(got[0].offsets, wanted[0].offsets)
        np.testing.assert_array_equal(got[1], wanted[1])


RUNS = st.lists(
    st.tuples(
        st.sampled_from("aB'sl \t\n\r0.!/é漢\u00a0\u0301—"), st.sampled_from([1, 1, 1, 2, 3, 61, 62, 63, 64, 65])
    ),
    max_size=24,
).map(lambda runs: "".join(c * n for c, n in runs))


@given(RUNS, st.sampled_from(PATTERNS))
def test_what_lies_across_the_ends_of_windows_equals_the_reference(text, pattern):
    """64 bytes are cut at a time: runs that end before, at and behind such an end."""
    wanted = cut(text, pattern, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        assert cut(text, pattern, impl=impl) == wanted


@given(st.binary(max_size=40), st.sampled_from(PATTERNS))
def test_broken_utf8_is_cut_and_kept(data, pattern):
    pieces = cut(data, pattern)
    assert b"".join(pieces) == data
    assert pieces == cut(data, pattern, impl="reference")


@given(TEXT)
def test_the_tiktoken_spelling_is_the_same_language(text):
    regex = pytest.importorskip("regex")
    # `regex` knows a later Unicode than tokenizers: leave out what this Python's unicodedata does not know either.
    text = "".join(c for c in text if unicodedata.category(c) != "Cn")
    for pattern, expression in patterns.TIKTOKEN.items():
        assert [p.decode() for p in cut(text, pattern)] == regex.findall(expression, text)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("L", r"\p{L}"),
        ("N", r"\p{N}"),
        ("S", r"\s"),
        ("UPPER", r"[\p{Lu}\p{Lt}]"),
        ("LOWER", r"\p{Ll}"),
        ("MARK", r"\p{M}"),
        ("PUNCT", r"[\p{P}\p{S}]"),
    ],
)
def test_every_code_point_has_the_class_that_tokenizers_gives_it(name, expression):
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    removed = pre_tokenizers.Split(Regex(expression + "+"), "removed").pre_tokenize_str(text)
    rest = set("".join(s for s, _ in removed))
    table = {chr(c) for first, last in getattr(unicode_ln, name) for c in range(first, last + 1)}
    assert table == set(text) - rest


@functools.cache
def every_code_point_between():
    """ "a?1" and its number of pieces: a letter joins the a, a number the 1; anything else is a piece of its own."""
    classes = pretokenize_ref._classes()
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c != ord("'")]
    wanted = [3 if classes.get(c, "O") in "OS" else 2 for c in points]
    wanted[points.index(ord(" "))] = 2  # leads the number
    return columns.from_texts([f"a{chr(c)}1" for c in points]), wanted


def test_every_code_point_has_its_class_natively(impl):
    if impl == "reference":
        pytest.skip("the reference reads the table of the test above")
    column, wanted = every_code_point_between()
    _, starts = pretokenize(column, pattern="gpt2", impl=impl)
    np.testing.assert_array_equal(np.diff(starts), wanted)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_slices_do_not_matter(threads):
    column = columns.from_texts(SAMPLES * 20)
    whole, starts = pretokenize(column, threads=1)
    part, part_starts = pretokenize(TextColumn(column.data, column.offsets[3:]), threads=threads)
    np.testing.assert_array_equal(part.offsets, whole.offsets[starts[3] :])
    np.testing.assert_array_equal(part_starts, starts[3:] - starts[3])


@pytest.mark.parametrize(
    ("column", "pattern", "error", "words"),
    [
        (columns.from_texts(["a"]), "p50k", ValueError, "pattern must be one of cl100k, llama3, qwen2, gpt2, o20"),
        (TextColumn(np.zeros(3, np.int8), np.array([0, 3])), "gpt2", TypeError, "data must have dtype uint8, got int8"),
        (TextColumn(np.zeros(3, np.uint8), np.array([0, 4])), "gpt2", ValueError, "offsets must rise from 0 to at mo"),
    ],
)
def test_refuses(column, pattern, error, words):
    with pytest.raises(error, match=re.escape(words)):
        pretokenize(column, pattern=pattern)
