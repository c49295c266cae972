import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.filter.line_edit import EDIT_C4, EDIT_REFINEDWEB, C4Rules, RefinedWebRules, line_edit
from fasttrain.filter.line_edit_ref import COUNTED, is_counter, refinedweb_line
from fasttrain.filter.text_stats import COLUMN, NAMES, stats_and_edits, text_stats
from fasttrain.text import columns
from filter.texts import FRAGMENTS, LINES, texts

OP = "line_edit"
BOTH = EDIT_C4 | EDIT_REFINEDWEB
C4 = st.builds(
    C4Rules, *([st.booleans()] * 6), min_words=st.integers(0, 4), max_word_chars=st.sampled_from([0, 3, 20, 1000])
)
REFINEDWEB = st.builds(
    RefinedWebRules, max_uppercase=st.sampled_from([0.0, 0.3, 0.5, 1.0]), numeric=st.booleans(), counters=st.booleans(),
    min_words=st.integers(0, 3), phrases=st.booleans(), max_phrase_words=st.sampled_from([0, 4, 10]),
)  # fmt: skip
BATCH = st.lists(st.tuples(texts, st.integers(0, BOTH)), max_size=6)

PAGE = "Home | About\n  This is a good line.[2] \r\nToo short.\nWe use cookies on this site.\n"
PAGE += "Enable JavaScript to see it.\n"
PAGE += "It trails off here...\nSecond good line, she said.'\u2028He left at noon today!"


def edit_of(bits, n=1):
    return np.full(n, bits, np.uint8)


def one(text, bits, impl=None, **rules):
    return line_edit(columns.from_texts([text]), edit_of(bits), impl=impl, **rules)[0].decode()


def stats_of(text, bits=0, **rules):
    counts, _ = stats_and_edits(columns.from_texts([text]), edit_of(bits), **rules)
    return dict(zip(NAMES, counts[0].tolist()))


def test_golden_c4(impl):
    assert one(PAGE, EDIT_C4, impl) == "This is a good line.\nSecond good line, she said.'\nHe left at noon today!"
    s = stats_of(PAGE)
    kinds = ("kept", "unpunctuated", "few_words", "policy", "javascript", "long_word")
    assert [s[f"c4_{k}_lines"] for k in kinds] == [3, 2, 1, 1, 1, 0]
    assert s["c4_sentences"] == 3


CARD = """  MENU OF THE DAY

\tThe soup of the day is good.
1,204 Comments
Home
2024
Sign-in to see more words
You have 3 items in cart right now
It is a long story that goes on. Read more...
Read More…
"""


def test_golden_refinedweb(impl):
    left = "The soup of the day is good.\nto see more words\nYou have 3 right now\nIt is a long story that goes on."
    assert one(CARD, EDIT_REFINEDWEB, impl) == left
    s = stats_of(CARD)
    kinds = ("uppercase", "numeric", "counter", "one_word", "phrase")
    assert [s[f"rw_{k}_lines"] for k in kinds] == [1, 1, 1, 1, 4]
    # MENU OF THE DAY, 1,204 Comments, Home, 2024, "Sign - in" (2 text words), items in cart, Read more (twice)
    assert s["rw_removed_words"] == 4 + 2 + 1 + 1 + 2 + 3 + 2 + 2
    assert stats_of(CARD, EDIT_REFINEDWEB)["removed_lines"] == 5
    both = "The soup of the day is good.\nIt is a long story that goes on."
    assert one(CARD, BOTH, impl, c4=C4Rules(terminal_punct=True)) == "The soup of the day is good."
    assert one(CARD.replace(" Read more...", "[7] Read more..."), BOTH, impl, c4=C4Rules(terminal_punct=False)) == (
        both.replace("\n", "\nto see more words\nYou have 3 right now\n")
    )


def test_a_text_of_which_nothing_goes_keeps_its_bytes(impl):
    text = "  Two words here.\r\n\r\n\tAnd three of them \u2028"
    assert one(text, EDIT_REFINEDWEB, impl) == text
    assert one(text, 0, impl) == text
    assert one(text + "\nOne", EDIT_REFINEDWEB, impl) == "Two words here.\r\n\r\n\tAnd three of them"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("AB cd", ""),  # 2 of 5 characters
        ("ABC cd", ""),  # 3 of 6: not more than half
        ("ABCD ef", "uppercase"),  # 4 of 7
        ("ÀÉÎ ÖÜ ß", "uppercase"),
        ("ⒶⒷⒸ ⅣⅤ", ""),  # no letters
        ("12345", "numeric"),
        ("½²Ⅳ", "numeric"),
        ("12 345", ""),
        ("3 likes", "counter"),
        ("1 like", "counter"),
        (" (12.5K   Views!) ", "counter"),
        ("» 3\u00a0shares «", "counter"),
        ("3 likes it", ""),
        ("3likes", "one_word"),
        ("x 3 likes", ""),
        ("likes 3", ""),
        ("3 likesies", ""),
        ("3,.,4M followers", "counter"),
        ("word", "one_word"),
        ("a-very-long-word", "one_word"),
        ("two words", ""),
        ("sign-in", "one_word"),
        ("Sign-In items in cart", "phrase"),
        ("items in cart READ MORE...", "phrase"),
        ("items in cart Read more...", "phrase"),
        ("", ""),
    ],
)
def test_refinedweb_judges_a_line(line, reason):
    assert refinedweb_line(line.strip(), RefinedWebRules()).reason == reason
    s = stats_of(line)
    assert sum(s[f"rw_{k}_lines"] for k in ("uppercase", "numeric", "counter", "one_word", "phrase")) == bool(reason)
    assert not reason or s[f"rw_{reason}_lines"] == 1


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Please read more...", "Please"),
        ("Please read more…", "Please"),
        ("Read more...and find out!", "Read more...and find out!"),
        ("one two three four five six seven eight nine items in cart", None),  # 12 words
        ("one two three four five six seven items in cart", "one two three four five six seven"),
        ("You have 7\u3000items in cartitems in cart right now", "You have 7 right now"),
        ("sign-in\u2003here", "here"),
        ("how to sign-in now", None),
        ("Sign-in here and read more...", "here and"),
    ],
)
def test_refinedweb_takes_phrases_out(impl, line, left):
    assert one(line, EDIT_REFINEDWEB, impl) == (line if left is None else left)


@pytest.mark.parametrize("noun", COUNTED)
def test_counters(noun):
    assert all(is_counter(f"{n} {w}") for n in ("1", "2,000", "5.1M", "8b") for w in (noun, noun.upper() + "S"))


@settings(max_examples=80)
@given(BATCH, C4, REFINEDWEB)
def test_equals_reference(impl, batch, c4, refinedweb):
    column = columns.from_texts([t for t, _ in batch])
    edit = np.array([e for _, e in batch], np.uint8)
    found = line_edit(column, edit, c4=c4, refinedweb=refinedweb, impl=impl)
    wanted = line_edit(column, edit, c4=c4, refinedweb=refinedweb, impl="reference")
    assert [found[i].decode() for i in range(len(batch))] == [wanted[i].decode() for i in range(len(batch))]


def test_equals_reference_on_lines_at_every_edge_of_64_bytes(impl):
    if impl == "reference":
        pytest.skip("compared with itself")
    pairs = itertools.product(LINES, (*LINES, *FRAGMENTS[::3]))
    batch = ["y" * (i % 67) + " z\n" + a + "\n" + b for i, (a, b) in enumerate(pairs)]
    column, edit = columns.from_texts(batch), np.arange(len(batch)).astype(np.uint8) % 4
    found, wanted = line_edit(column, edit, impl=impl), line_edit(column, edit, impl="reference")
    for i, text in enumerate(batch):
        assert found[i] == wanted[i], (text, int(edit[i]))


@settings(max_examples=60)
@given(BATCH, C4, REFINEDWEB)
def test_the_statistics_make_the_same_edit(batch, c4, refinedweb):
    column = columns.from_texts([t for t, _ in batch])
    edit = np.array([e for _, e in batch], np.uint8)
    counts, edited = stats_and_edits(column, edit, c4=c4, refinedweb=refinedweb)
    alone = line_edit(column, edit, c4=c4, refinedweb=refinedweb)
    assert edited.data.tobytes() == alone.data.tobytes()
    assert edited.offsets.tolist() == alone.offsets.tolist()
    again = text_stats(alone)
    for name in ("chars", "newlines", "words"):
        assert counts[:, COLUMN[f"left_{name}"]].tolist() == again[:, COLUMN[name]].tolist()
    plain = text_stats(column, c4=c4, refinedweb=refinedweb)
    of_text = [k for k, name in enumerate(NAMES) if not name.startswith("left_") and name != "removed_lines"]
    np.testing.assert_array_equal(counts[:, of_text], plain[:, of_text])


@given(st.lists(texts, max_size=6))
def test_a_second_pass_keeps_as_many_lines(batch):
    rules, edit = C4Rules(citations=False), edit_of(EDIT_C4, len(batch))
    once = line_edit(columns.from_texts(batch), edit, c4=rules)
    twice = line_edit(once, edit, c4=rules)
    assert [once[i] for i in range(len(batch))] == [twice[i] for i in range(len(batch))]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads):
    column, edit = columns.from_texts([PAGE * (i % 5) + CARD for i in range(500)]), edit_of(BOTH, 500)
    a, b = line_edit(column, edit, threads=threads), line_edit(column, edit, threads=1)
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.offsets, b.offsets)


def test_refuses(impl):
    column = columns.from_texts(["a"])
    with pytest.raises(ValueError, match="line_edit: limits must not be negative"):
        line_edit(column, edit_of(1), c4=C4Rules(min_words=-1), impl=impl)
    with pytest.raises(ValueError, match="line_edit: limits must not be negative"):
        line_edit(column, edit_of(1), refinedweb=RefinedWebRules(max_uppercase=float("nan")), impl=impl)
    with pytest.raises(ValueError, match=r"line_edit: edit must have shape \(1,\)"):
        line_edit(column, edit_of(1, 2), impl=impl)
    with pytest.raises(ValueError, match=r"line_edit: edit must be of EDIT_C4 \| EDIT_REFINEDWEB, got 4"):
        line_edit(column, edit_of(4), impl=impl)
    if impl != "reference":
        with pytest.raises(ValueError, match="line_edit: text 0 must be valid UTF-8"):
            line_edit(columns.from_texts([b"\xff"]), edit_of(3), impl=impl)
