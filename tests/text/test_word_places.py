import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle_ref import words
from fasttrain.text.word_places import word_places

OP = "word_places"
TEXT = st.one_of(st.text(max_size=40), st.text("a1é漢\u0301ก한 ."))
RAW = st.lists(st.one_of(st.binary(max_size=60), TEXT.map(str.encode)), max_size=4)


def of(texts, **options):
    places, offsets = word_places(columns.from_texts(texts), **options)
    return places.tolist(), offsets.tolist()


def test_by_hand(impl):
    assert of(["ab, c", "", "x漢字e\u0301", "--"], impl=impl) == (
        [[0, 1, 1], [4, 5, 4], [5, 6, 5], [6, 9, 6], [9, 12, 9], [12, 13, 12]],
        [0, 2, 2, 6, 6],
    )


@given(RAW)
def test_equals_the_reference(texts):
    assert of(texts) == of(texts, impl="reference")


@given(RAW, st.data())
def test_places_count_the_words_of_any_string(texts, data):
    """Of bytes [p, e): the words whose last place is at or after p and whose first code point ends at or before e."""
    text = b"".join(texts).decode("utf-8", "replace").encode()
    places, _ = of([text])
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    want = len(words(text[begin:end]))
    held = [p for p in places if p[2] >= begin and p[1] <= end]
    cut = [p for p in places if p[0] < begin <= p[2] and p[1] <= end]
    # The rest of a word that `begin` cuts is a word when a code point of it is whole.
    if not cut or len(words(text[cut[0][2] : end])) == 1:
        assert len(held) == want


def test_a_slice_of_a_larger_column(impl):
    column = TextColumn(np.frombuffer(b"one two three", np.uint8), np.array([4, 7]))
    places, offsets = word_places(column, impl=impl)
    assert (places.tolist(), offsets.tolist()) == ([[4, 5, 6]], [0, 1])


def test_nothing(impl):
    assert of([], impl=impl) == ([], [0])


def test_refuses():
    with pytest.raises(ValueError, match="word_places: offsets"):
        word_places(TextColumn(np.zeros(3, np.uint8), np.array([0, 9])))
    with pytest.raises(TypeError, match="word_places: data"):
        word_places(TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
