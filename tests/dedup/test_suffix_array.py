import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fasttrain.dedup.suffix_array import suffix_array

OP = "suffix_array"


def of(text, **options):
    return [a.tolist() for a in suffix_array(np.frombuffer(text, np.uint8), **options)]


def test_banana(impl):
    assert of(b"banana", impl=impl) == [[5, 3, 1, 0, 4, 2], [0, 1, 3, 0, 0, 2]]


@given(st.one_of(st.binary(max_size=300), st.text("ab", max_size=300).map(str.encode), st.text("abc").map(str.encode)))
@example(b"")
@example(b"\0")
@example(b"\xff" * 100)
@example(b"ab" * 60 + b"a")
@example(b"mississippi" * 12)
def test_equals_sorted_suffixes(text):
    assert of(text) == of(text, impl="reference")


def test_fibonacci_and_large():
    a, b = b"a", b"ab"
    while len(b) < 1000:  # the reference takes the square
        a, b = b, b + a
    assert of(b) == of(b, impl="reference")
    text = np.random.default_rng().integers(0, 4, 200_000).astype(np.uint8)
    sa, lcp = suffix_array(text)
    assert np.array_equal(np.sort(sa), np.arange(len(text)))
    raw = text.tobytes()
    for k in np.random.default_rng().integers(1, len(sa), 500).tolist():
        x, y, common = sa[k - 1], sa[k], lcp[k]
        assert raw[x : x + common] == raw[y : y + common]
        assert raw[x + common : x + common + 1] < raw[y + common : y + common + 1]


def test_refuses():
    with pytest.raises(TypeError, match="text must have dtype uint8, got int64"):
        suffix_array(np.zeros(3, np.int64))
