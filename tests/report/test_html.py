import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.report.html import Html, any_data, duration, number, table, tag
from fasttrain.report.samples import clip, mask


@given(st.text())
def test_text_never_becomes_markup(text):
    made = tag("p", text, title=text)
    inner = made.removeprefix("<p title=").removesuffix("</p>")
    assert "<" not in inner
    assert made.count(">") == 2
    assert inner.count('"') == 2


def test_markup_made_here_stays():
    assert tag("p", tag("b", "x & y"), " < z") == "<p><b>x &amp; y</b> &lt; z</p>"
    assert tag("br") == "<br>"
    assert tag("a", "t", class_="c", aria_label="l", hidden=None) == '<a class="c" aria-label="l">t</a>'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_plain_data_can_be_shown(data):
    assert isinstance(any_data(data), Html)


def test_tables_of_tables():
    made = any_data({"en": {"fertility": 1.25, "n": 1234}, "de": {"fertility": 2.0}})
    assert '<th class="n" scope="col">fertility</th>' in made
    assert "1.25" in made
    assert "1,234" in made
    assert "–" in made
    assert table(("a",), [["<x>"]], numbers=(0,)).count("&lt;x&gt;") == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (100, "1 min 40 s"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (1_234_567, "1.23 M"), (5e9, "5 G"), (0.5, "0.5")])
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write to jane.roe+x@mail.example.org, now", "write to [e-mail], now"),
        ("call +49 (0)30 123-45678 today", "call [number] today"),
        ("4111 1111 1111 1111", "[number]"),
        ("DE89 3704 0044 0532 0130 00", "[IBAN]"),
        ("host 192.0.2.44 up", "host [IP] up"),
        ("host 2001:db8:0:0:0:0:0:1 up", "host [IP] up"),
        ("version 1.2.3 of 2024, page 12", "version 1.2.3 of 2024, page 12"),
        ("def f(a: int) -> dict[str, int]:", "def f(a: int) -> dict[str, int]:"),
    ],
)
def test_masks(text, shown):
    assert mask(text) == shown


def test_clipping_is_marked():
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "abc …"
