import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.decontam.ngram_overlap import NgramIndex, ngram_overlap
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle import shingle

OP = "ngram_overlap"
WORDS = ["a", "b", "c", "42", "Été", "我", "x_y", "", " ", ".", "-", "the", "é", "\n", "long" * 9]


def index_of(texts, n):
    return NgramIndex.build(shingle(columns.from_texts(texts), n=n)[0], n)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=25), max_size=5),
    st.lists(st.lists(st.sampled_from(WORDS), max_size=25), max_size=5),
    st.integers(1, 6),
)
def test_native_equals_reference(documents, items, n):
    column = columns.from_texts(" ".join(d) for d in documents)
    index = index_of([" ".join(i) for i in items], n)
    want = ngram_overlap(column, index, impl="reference")
    for impl in backend.implementations(OP):
        got = ngram_overlap(column, index, impl=impl)
        for name in ("starts", "words", "grams"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=f"{impl} {name}")


def test_worked_by_hand(impl):
    """The item's 3-grams are (b c d) and (c d e); the document holds (c d e) from its word 1 and again from word 4."""
    index = index_of(["B, c d-e"], 3)
    hits = ngram_overlap(columns.from_texts(["x", "z c d e c D e!"]), index, impl=impl)
    assert hits.starts.tolist() == [0, 0, 2]
    assert hits.words.tolist() == [1, 4]
    assert index.keys[hits.grams].tolist() == [int(shingle(columns.from_texts(["c d e"]), n=3)[0][0])] * 2


def test_long_texts_are_found_across_windows(impl):
    """Texts are cut into windows of 16 KB inside; an n-gram across a cut has its place all the same."""
    rng = np.random.default_rng(7)
    words = ["".join(map(chr, letters)) for letters in rng.integers(97, 123, (8000, 6))]
    index = index_of([" ".join(words[k : k + 13]) for k in range(0, 7900, 79)], 13)
    hits = ngram_overlap(columns.from_texts([" ".join(words)]), index, impl=impl)
    assert hits.words.tolist() == list(range(0, 7900, 79))


def test_a_text_shorter_than_n_words_has_no_ngram(impl):
    index = index_of(["one two three four five"], 5)
    short = index_of(["one two three"], 5)  # its shingle is that of three words
    column = columns.from_texts(["one two three", "one two three four five"])
    assert ngram_overlap(column, index, impl=impl).starts.tolist() == [0, 0, 1]
    assert ngram_overlap(column, short, impl=impl).starts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_matter(threads):
    rng = np.random.default_rng(3)
    texts = [" ".join(map(str, rng.choice(list("abcdefgh"), 60))) for _ in range(200)]
    index = index_of(texts[::9], 4)
    one, many = (
        ngram_overlap(columns.from_texts(texts), index, threads=1),
        ngram_overlap(columns.from_texts(texts), index, threads=threads),
    )
    np.testing.assert_array_equal(one.words, many.words)
    np.testing.assert_array_equal(one.grams, many.grams)


def test_an_empty_index_finds_nothing(impl):
    index = NgramIndex.build(np.empty(0, np.uint64), 13)
    assert ngram_overlap(columns.from_texts(["a b c"]), index, impl=impl).starts.tolist() == [0, 0]


def test_refuses():
    index = index_of(["a b c d"], 2)
    with pytest.raises(TypeError, match="ngram_overlap: data must have dtype uint8"):
        ngram_overlap(TextColumn(np.zeros(3, np.int8), np.array([0, 3])), index)
    with pytest.raises(ValueError, match="filter must hold a power of two of words, got 3"):
        ngram_overlap(columns.from_texts(["a"]), NgramIndex(2, index.keys, np.zeros(3, np.uint64)))
