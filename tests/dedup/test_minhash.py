import functools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasttrain
from fasttrain.core import backend
from fasttrain.dedup.minhash import minhash
from fasttrain.dedup.sketch import sketch
from fasttrain.text import columns
from fasttrain.text.shingle import shingle

OP = "minhash"
WORDS = [f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(9000)]


def document(seed, length=600):
    return random.Random(seed).choices(WORDS, k=length)


@given(
    st.lists(st.one_of(st.binary(max_size=150), st.text(max_size=100).map(str.encode)), max_size=8),
    st.integers(1, 13),
    st.integers(1, 40),
)
def test_native_equals_reference(texts, ngram, num_hashes):
    column = columns.from_texts(texts)
    want_words, words = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
    options = {"ngram": ngram, "num_hashes": num_hashes}
    want = minhash(column, **options, num_words=want_words, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        np.testing.assert_array_equal(minhash(column, **options, num_words=words, impl=impl), want, impl)
        np.testing.assert_array_equal(words, want_words, impl)


def test_fused_equals_the_two_steps(impl):
    texts = [" ".join(document(i, length)) for i, length in enumerate([0, 1, 4, 5, 6, 700, 9000])]
    grams, offsets = shingle(columns.from_texts(texts), n=5)
    if impl == "reference":
        texts, offsets = texts[:-1], offsets[:-1]
    np.testing.assert_array_equal(minhash(texts, impl=impl), sketch(grams, offsets))


def test_golden_signature(impl):
    """Written down once: a stored signature must mean the same for ever."""
    sig = fasttrain.minhash(["It was the best of times, it was the worst of times."], impl=impl)
    assert sig.shape == (1, 112)
    assert sig.dtype == np.uint32
    assert [f"{v:08x}" for v in sig[0, :4]] == ["1f2b54e7", "1266fdf3", "1c927de7", "1ad28772"]


def test_takes_what_holds_texts(impl):
    texts = ["one two three four five six", "", "日本語のテキスト"]
    want = minhash(texts, impl=impl)
    for other in (
        [t.encode() for t in texts],
        columns.from_texts(texts),
        pa.array(texts),
        pa.chunked_array([texts[:1], texts[1:]], pa.large_string()),
    ):
        np.testing.assert_array_equal(minhash(other, impl=impl), want)


EDITS = {
    "prepend a word": lambda w: ["zz", *w],
    "prepend a sentence": lambda w: [*["all", "of", "this", "comes", "before", "the", "text"], *w],
    "append a sentence": lambda w: [*w, *["all", "of", "this", "comes", "behind", "the", "text"]],
    "insert a word": lambda w: [*w[:300], "zz", *w[300:]],
    "replace a word": lambda w: [*w[:200], "zz", *w[201:]],
    "delete a word": lambda w: [*w[:100], *w[101:]],
    "swap halves": lambda w: [*w[300:], *w[:300]],
    "a word in 100": lambda w: ["zz" if i % 100 == 50 else x for i, x in enumerate(w)],
    "new case and lines": lambda w: [x.upper() + ",\n" for x in w],
    "boilerplate around": lambda w: ["Home | About | Contact us today", *w, "All rights reserved 2026"],
}


BANDS, ROWS = 14, 8


@functools.cache
def edited(edit):
    """300 documents beside their edits, and the Jaccard similarity of each pair: once for all implementations."""
    pairs = []
    for seed in range(300):
        words = document(seed)
        texts = [" ".join(words), " ".join(EDITS[edit](words))]
        grams, offsets = shingle(columns.from_texts(texts), n=5)
        one, two = (set(grams[offsets[i] : offsets[i + 1]].tolist()) for i in (0, 1))
        pairs.append((texts, len(one & two) / len(one | two)))
    return pairs


@pytest.mark.once
@pytest.mark.parametrize("edit", EDITS)
def test_recall_by_kind_of_edit(impl, edit):
    """Each kind of edit is found at the rate of the banding formula: sampling by position would lose the first ones."""
    trials = 10 if impl == "reference" else 300
    found = expected = variance = 0.0
    for seed, (texts, jaccard) in enumerate(edited(edit)[:trials]):
        p = 1 - (1 - jaccard**ROWS) ** BANDS
        sig = minhash(texts, seed=seed, impl=impl)
        found += (sig[0] == sig[1]).reshape(BANDS, ROWS).all(axis=1).any()
        expected += p
        variance += p * (1 - p)
    assert abs(found - expected) <= 4 * variance**0.5 + 1
    assert jaccard > 0.85


def test_empty_texts_have_the_empty_signature(impl):
    num_words = np.empty(4, np.int64)
    sig = minhash(["", " \n", "!!", "word"], num_words=num_words, impl=impl)
    assert num_words.tolist() == [0, 0, 0, 1]
    assert (sig[:3] == 0xFFFFFFFF).all()
    assert (sig[3] != 0xFFFFFFFF).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads):
    texts = [" ".join(document(i, i % 50)) for i in range(500)]
    np.testing.assert_array_equal(minhash(texts, threads=threads), minhash(texts, threads=1))


@pytest.mark.parametrize(
    ("texts", "options", "error", "words"),
    [
        ("one text", {}, TypeError, r"got one text; write \[text\]"),
        (["a"], {"ngram": 65}, ValueError, "minhash: n must be 1 to 64 words, got 65"),
        (["a"], {"out": np.empty((1, 112), np.uint64)}, TypeError, "out must have dtype uint32, got uint64"),
        (["a"], {"out": np.empty((2, 112), np.uint32)}, ValueError, r"out must have shape \(1, 112\), got \(2, 112\)"),
        (pa.array(["a", None]), {}, ValueError, "must hold no nulls, got 1"),
        (pa.array([1]), {}, TypeError, "must be string or large_string, got int64"),
    ],
)
def test_refuses(texts, options, error, words):
    with pytest.raises(error, match=words):
        minhash(texts, **options)
