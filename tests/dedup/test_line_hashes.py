import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.dedup import line_hashes_ref
from fasttrain.dedup.line_hashes import line_hashes
from fasttrain.text import columns

OP = "line_hashes"


def of(lines, **options):
    texts = columns.from_texts(lines)
    return line_hashes(texts.data, texts.offsets[:-1].copy(), texts.offsets[1:].copy(), **options)


def test_case_digits_and_punctuation_do_not_count(impl):
    hashes, words = of(
        ["Copyright 2014, ACME!", "copyright (1999) acme", "acme copyright 2014", "", "-- * --"], impl=impl
    )
    assert hashes[0] == hashes[1] != hashes[2]
    assert words.tolist() == [3, 3, 3, 0, 0]
    assert hashes[3:].tolist() == [0, 0]


def test_digits_count_when_they_shall(impl):
    lines = ["Born 1914 of 20", "born 1914, of (20)", "born 1914 of 21", "born of"]
    hashes, _ = of(lines, digits=True, impl=impl)
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 3
    assert of(lines[3:], impl=impl)[0][0] == hashes[3]


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(1, 2), st.booleans())
def test_equals_the_reference(lines, threads, digits):
    want = of(lines, impl="reference", digits=digits)
    got = of(lines, threads=threads, digits=digits)
    assert [w.tolist() for w in want] == [g.tolist() for g in got]


def test_a_long_line_is_one_span(impl):
    if impl == "reference":
        pytest.skip("is the definition")
    text = " ".join(f"word{chr(97 + i % 26)}{i}é" for i in range(20_000))
    assert of([text], impl=impl)[0][0] == of([text], impl="reference")[0][0]


@pytest.mark.parametrize(("begin", "end"), [(-1, 2), (2, 1), (0, 4)])
def test_refuses_spans_outside(begin, end):
    with pytest.raises(ValueError, match="spans must lie in the 3 bytes"):
        line_hashes(np.zeros(3, np.uint8), np.array([begin]), np.array([end]))


def test_reference_of_nothing():
    empty = np.empty(0, np.int64)
    line_hashes_ref.line_hashes(np.empty(0, np.uint8), empty, empty, np.empty(0, np.uint64), empty, True)
    assert len(line_hashes(np.empty(0, np.uint8), empty, empty)[0]) == 0
