import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.dedup.winnow import winnow
from fasttrain.text import columns

OP = "winnow"


def of(texts, k, w, **options):
    return list(zip(*(a.tolist() for a in winnow(columns.from_texts(texts), k, w, **options))))


TEXTS = st.lists(st.one_of(st.text("ab", max_size=120), st.text(max_size=40)), max_size=5)


@given(TEXTS, st.integers(1, 9), st.integers(1, 12))
def test_equals_the_reference(texts, k, w):
    assert of(texts, k, w) == of(texts, k, w, impl="reference")


@given(st.binary(min_size=20, max_size=60), st.binary(max_size=30), st.binary(max_size=30))
def test_equal_windows_hold_the_same_anchor(window, before, after):
    k = 5
    w = len(window) - k + 1
    alone = of([window], k, w)
    assert len(alone) == 1
    h, _, at = alone[0]
    assert (h, 0, len(before) + at) in of([before + window + after], k, w)


def test_a_text_too_short_has_none(impl):
    assert of(["abcdef", "", "abcdefg"], 3, 5, impl=impl)[0][1] == 2


def test_runs_choose_every_place(impl):
    assert len(of(["a" * 1000], 4, 100, impl=impl)) == 898


def test_refuses():
    with pytest.raises(ValueError, match="k and w must be at least 1"):
        of(["a"], 0, 1)
