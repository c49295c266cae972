"""Every Unicode scalar value beside a letter, a digit, white space, a line end, an apostrophe and a sign."""

import random
import unicodedata
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Regex, pre_tokenizers

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.tokenizer import patterns, unicode_ln
from fasttrain.tokenizer.pretokenize import pretokenize

OP = "pretokenize"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SEED = 0x7A31C5
# Each of the five classes stands before it and behind it, next to it and with one character between; twice itself.
FORM = "aB{0}cD1{0}2 {0}{0}x'{0}s\n{0}\r\nA{0}b  {0}'S{0}.{0}/{0}, 's{0} '{0} \u0301{0}|"
SPLIT = {
    name: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), "isolated") for e in patterns.expressions(name)])
    for name in patterns.NUMBER
}


def boundaries():
    """The first and the last of every run of one category, and of every range of the tables, and their neighbours."""
    categories = [unicodedata.category(chr(c)) for c in SCALARS]
    edges = {c for (a, x), (b, y) in pairwise(zip(SCALARS, categories)) if x != y for c in (a, b)}
    for name in ("L", "N", "S", "UPPER", "LOWER", "MARK", "PUNCT"):
        for first, last in getattr(unicode_ln, name):
            edges |= {first - 1, first, last, last + 1}
    edges |= {c for a in (0x80, 0x800, 0xD800, 0xE000, 0x10000, 0x110000) for c in (a - 1, a)}  # bytes of UTF-8
    return sorted(edges & set(SCALARS))


def ends(text, pattern, impl):
    """Where pieces end, in characters."""
    column = columns.from_texts([text])
    pieces, _ = pretokenize(column, pattern=pattern, impl=impl)
    characters = np.cumsum((column.data & 0xC0) != 0x80)
    return characters[pieces.offsets[1:] - 1]


def texts(points):
    """The form of each character, 20,000 at a time."""
    for k in range(0, len(points), 20_000):
        yield "".join(FORM.format(chr(c)) for c in points[k : k + 20_000])


def theirs(text, pattern):
    """Where pieces of tokenizers end, in characters."""
    return np.array([end for _, (_, end) in SPLIT[pattern].pre_tokenize_str(text)])


@cache
def some_of_all(pattern):
    """A text of the ends of all classes and of others, and the ends of its pieces."""
    [text] = texts(boundaries() + random.Random(SEED).sample(SCALARS, 2000))
    return text, theirs(text, pattern)


@pytest.mark.parametrize("pattern", patterns.NUMBER)
def test_scalars_at_the_ends_of_classes_and_some_of_all(impl, pattern):
    text, wanted = some_of_all(pattern)
    np.testing.assert_array_equal(ends(text, pattern, impl), wanted)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pattern", patterns.NUMBER)
def test_every_scalar(pattern):
    for text in texts(SCALARS):
        wanted = theirs(text, pattern)
        for impl in backend.implementations(OP)[:-1]:  # the reference is compared where classes end
            np.testing.assert_array_equal(ends(text, pattern, impl), wanted)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pattern", patterns.TIKTOKEN)
def test_every_scalar_that_has_a_category_as_tiktoken_spells_the_pattern(pattern):
    """By the `regex` module, which knows a later Unicode: what this Python's unicodedata does not know is left out."""
    regex = pytest.importorskip("regex")
    expression = regex.compile(patterns.TIKTOKEN[pattern])
    known = [c for c in SCALARS if unicodedata.category(chr(c)) != "Cn"]
    for text in texts(known):
        np.testing.assert_array_equal(ends(text, pattern, None), [m.end() for m in expression.finditer(text)])
