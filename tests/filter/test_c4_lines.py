import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.filter.c4_lines import C4Rules, c4_lines
from fasttrain.filter.text_stats import NAMES, text_stats
from fasttrain.text import columns
from filter.texts import texts

OP = "c4_lines"
RULES = st.builds(
    C4Rules, *([st.booleans()] * 6), min_words=st.integers(0, 4), max_word_chars=st.sampled_from([0, 3, 20, 1000])
)

PAGE = "Home | About\n  This is a good line.[2] \r\nToo short.\nWe use cookies on this site.\n"
PAGE += "Enable JavaScript to see it.\n"
PAGE += "It trails off here...\nSecond good line, she said.'\u2028He left at noon today!"


def test_golden(impl):
    out = c4_lines(columns.from_texts([PAGE]), impl=impl)
    assert out[0].decode() == "This is a good line.\nSecond good line, she said.'\nHe left at noon today!"
    s = dict(zip(NAMES, text_stats(columns.from_texts([PAGE]))[0].tolist()))
    kinds = ("kept", "unpunctuated", "few_words", "policy", "javascript", "long_word")
    assert [s[f"c4_{k}_lines"] for k in kinds] == [3, 2, 1, 1, 1, 0]
    assert s["c4_sentences"] == 3


@settings(max_examples=60)
@given(st.lists(texts, max_size=6), RULES)
def test_equals_reference(impl, batch, rules):
    column = columns.from_texts(batch)
    found, wanted = c4_lines(column, rules=rules, impl=impl), c4_lines(column, rules=rules, impl="reference")
    assert [found[i].decode() for i in range(len(batch))] == [wanted[i].decode() for i in range(len(batch))]


@given(st.lists(texts, max_size=6))
def test_a_second_pass_keeps_as_many_lines(batch):
    rules = C4Rules(citations=False)
    once = c4_lines(columns.from_texts(batch), rules=rules)
    twice = c4_lines(once, rules=rules)
    assert [once[i] for i in range(len(batch))] == [twice[i] for i in range(len(batch))]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads):
    column = columns.from_texts([PAGE * (i % 5) for i in range(500)])
    a, b = c4_lines(column, threads=threads), c4_lines(column, threads=1)
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.offsets, b.offsets)


def test_refuses(impl):
    with pytest.raises(ValueError, match="c4_lines: limits must not be negative"):
        c4_lines(columns.from_texts(["a"]), rules=C4Rules(min_words=-1), impl=impl)
    if impl != "reference":
        with pytest.raises(ValueError, match="c4_lines: text 0 must be valid UTF-8"):
            c4_lines(columns.from_texts([b"\xff"]), impl=impl)
