"""Expressions against the engine of Hugging Face tokenizers: what is taken means the same there."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers

from fasttrain.tokenizer import expressions

ALPHABET = "aabcd é \n1٣漢.\u0301-]\u2028"
ATOMS = st.one_of(
    st.sampled_from(
        ["a", "b", "é", " ", ".", r"\s", r"\S", r"\p{L}", r"\P{N}", r"\p{^M}", r"\.", r"\n", "1", "漢", "-"]
    ),
    st.builds(
        lambda negated, parts: f"[{negated}{''.join(parts)}]",
        st.sampled_from(["", "^"]),
        st.lists(
            st.sampled_from(["a", "b-d", "é", r"\s", r"\p{L}", r"\n", r"\]", " ", r"\-", r"\S", r"\p{N}", "."]),
            min_size=1,
            max_size=3,
        ),
    ),
)
QUANTIFIERS = st.sampled_from(["", "", "", *"*+?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{1,}", "{0,1}"])


def rows(atoms):
    """Alternatives of rows of quantified atoms."""
    row = st.lists(st.tuples(atoms, QUANTIFIERS).map("".join), min_size=1, max_size=3).map("".join)
    return st.lists(row, min_size=1, max_size=2).map("|".join)


PATTERNS = rows(
    st.recursive(
        ATOMS,
        lambda inner: st.builds("{}{})".format, st.sampled_from(["(?:", "(", "(?=", "(?!"]), rows(inner)),
        max_leaves=6,
    )
)


@settings(max_examples=600)
@given(pattern=PATTERNS, texts=st.lists(st.text(st.sampled_from(ALPHABET), max_size=10), min_size=3, max_size=6))
def test_what_is_taken_matches_alike(pattern, texts):
    try:
        ours = expressions.compile_(pattern)
    except ValueError:
        assume(False)
    theirs = normalizers.Replace(Regex(pattern), "<>")
    for text in texts:
        assert ours.sub("<>", text) == theirs.normalize_str(text)


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [(r"\s", "S"), (r"\S", "S"), (r"\p{L}", "L"), (r"\p{N}", "N"), (r"[^\p{M}]", "M"), (".", "")],
)
def test_classes_hold_the_same_characters(pattern, classes):
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    ours = expressions.compile_(pattern).sub("", text)
    assert ours == normalizers.Replace(Regex(pattern), "").normalize_str(text)
    assert 0 < len(ours) < len(text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"\d+", "may mean something else in another engine"),
        (r"\w", "may mean something else"),
        (r"\bx", "may mean something else"),
        ("^a", r"'\^' may mean"),
        ("a$", r"'\$' may mean"),
        ("(?i)a", r"'\(\?i' may mean"),
        ("(?<=a)b", "may mean"),
        (r"(a)\1", "may mean"),
        ("[a-z&&[^b]]", "'&&' may mean"),
        ("[[:alpha:]]", r"'\[:' may mean"),
        (r"[a-\s]", "may mean"),
        (r"[\s-z]", "may mean"),
        ("a{1,3}+", r"'\+' may mean"),
        ("a**", "may mean"),
        ("a{3,2}", r"\{3,2\} must not fall"),
        ("a{,2}", r"'\{' may mean"),
        ("[z-a]", "must not fall"),
        ("[]", "a set is empty|may mean"),
        ("[a", "ends inside a set"),
        ("a\\", "may mean|ends inside"),
        ("(a", "a group has no end"),
        ("a)", "stands behind its end"),
        ("a*", "may match nothing"),
        ("a|b?", "may match nothing"),
        ("(?=a)", "may match nothing"),
        ("(a?)+b", "what is repeated may match nothing"),
        ("(?=a)*b", "may mean"),
        ("", "may match nothing"),
    ],
)
def test_refuses(pattern, message):
    with pytest.raises(ValueError, match=message):
        expressions.compile_(pattern)
