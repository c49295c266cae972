"""Benchmark items made of real text, documents into which they were leaked in four ways, and hard negatives.

Items: 70 % passages of a book (8 to 150 words), 10 % that quote a famous line, 10 % behind one header that all of them
share, 10 % word problems of one template or questions about a series. Negatives: pages without an item; pages that
quote the same famous lines; pages with the header and other text; the same problems about other people; the series.
"""

import random
import textwrap
import unicodedata
from dataclasses import dataclass

FORMS = ("verbatim", "paragraph", "wrapped", "embedded")
LEAST = {"verbatim": 0.98, "paragraph": 0.98, "wrapped": 0.95, "embedded": 0.90}
HEADER = "Read the following passage with care and choose the answer that agrees best with what its author says. "
COUNTED = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
MONTHS = "January, February, March, April, May, June, July, August, September, October, November, December"
SERIES = (COUNTED, MONTHS, ", ".join(str(k) for k in range(1, 40)), ", ".join("abcdefghijklmnopqrstuvwxyz"))
NAMES = ("Maria", "Tom", "Aisha", "Ken", "Olga", "Liam", "Rosa", "Ivan", "Mei", "Juan", "Ada", "Noor", "Finn", "Zoe")
THINGS = ("apples", "marbles", "stamps", "books", "pencils", "coins", "shells", "cards", "plums", "ribbons", "nails")


@dataclass(frozen=True)
class Leaks:
    """A benchmark and a corpus; `form` of a document that no item was put into is ""."""

    items: list[str]
    texts: list[str]
    form: list[str]
    item: list[int]


def passage(words, draws, low, high):
    """A run of words of a text, as it stands there."""
    n = draws.randint(low, high)
    start = draws.randrange(max(1, len(words) - n))
    return " ".join(words[start : start + n])


def problem(draws):
    """A word problem; another draw is another problem."""
    name, thing, other = draws.choice(NAMES), draws.choice(THINGS), draws.choice(NAMES)
    a, b = draws.randint(3, 90), draws.randint(3, 90)
    return (
        f"{name} has {a} {thing} and gives {b} of the {thing} to {other}. Then {other} finds {a} more {thing} and "
        f"loses {b} of them. How many {thing} do {name} and {other} have together now?"
    )


def item(book, famous, draws, k):
    """One item of the kind that its number says."""
    kind = k % 10
    if kind == 7:
        quoted = famous[k // 10 % len(famous)]
        return f"{passage(book, draws, 15, 25)} “{quoted}” {passage(book, draws, 25, 40)}"
    if kind == 8:
        return HEADER + passage(book, draws, 30, 60)
    if kind == 9:
        series = f"What comes next, and why, {passage(book, draws, 6, 10)}: {SERIES[k // 20 % len(SERIES)]}?"
        return problem(draws) if k // 10 % 2 else series
    return passage(book, draws, *((8, 12), (13, 40), (30, 60), (60, 150))[min(kind, 3)])


def variant(text, draws):
    """Another case, other punctuation, other marks and ligatures, or one word in 30 another."""
    how = draws.randrange(5)
    if how == 0:
        return text.upper()
    if how == 1:
        return text.replace(" ", "\u00a0").replace(",", " –").replace('"', "”")
    if how == 2:
        return unicodedata.normalize("NFD", text).replace("a", "a\u0301").replace("fi", "\ufb01")
    if how == 3:
        return " ".join(w if draws.random() > 1 / 30 else "thing" for w in text.split())
    return text


def leaked(form, text, host, draws):
    """A page that holds the item in that form."""
    before, after = passage(host, draws, 50, 150), passage(host, draws, 50, 150)
    if form == "verbatim":
        return text
    if form == "paragraph":
        return f"{before}\n\n{text}\n\n{after}"
    if form == "wrapped":
        return f"{before}\n{textwrap.fill(text, draws.randint(16, 40))}\n{after}"
    return f"{before} {variant(text, draws)} {after}"


def make(book, host, lines, *, count, seed):
    """Leaks of `count` items. book, host, lines: words of texts that share nothing; lines is famous."""
    draws = random.Random(seed)
    famous = [passage(lines, draws, 12, 18) for _ in range(6)]
    items = [item(book, famous, draws, k) for k in range(count)]
    texts, forms, of = [], [], []
    for form in FORMS:
        for k, text in enumerate(items):
            texts.append(leaked(form, text, host, draws))
            forms.append(form)
            of.append(k)
    for k in range(count):
        wrap = lambda inner: f"{passage(host, draws, 40, 90)} {inner} {passage(host, draws, 40, 90)}"  # noqa: E731
        texts += [
            passage(host, draws, 100, 300), wrap(famous[k % len(famous)]), wrap(HEADER), wrap(problem(draws)),
            wrap(SERIES[k % len(SERIES)]), passage(lines, draws, 100, 200),
        ]  # fmt: skip
    bare = len(texts) - len(forms)
    return Leaks(items, texts, forms + [""] * bare, of + [-1] * bare)
