"""What each step of a normaliser makes of a text, and of which characters: the definition, character by character.

The normal forms are Python's (Unicode Standard Annex 15), in which characters newer than Unicode 9.0 are like letters
that nothing composes with.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fasttrain.tokenizer import normalize_tables

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
_FORMS: dict[str, tuple[Form, Form]] = {
    "NFC": ("NFC", "NFD"),
    "NFD": ("NFD", "NFD"),
    "NFKC": ("NFKC", "NFKD"),
    "NFKD": ("NFKD", "NFKD"),
}
"""Name -> the form, and how it decomposes."""

_LOWER = {
    chr(int(char, 16)): "".join(chr(int(c, 16)) for c in text.split("+"))
    for char, text in (pair.split(":") for pair in normalize_tables.LOWER.split())
}


@cache
def characters(table: str) -> frozenset[str]:
    """The characters of a table of normalize_tables."""
    found = [[int(c, 16) for c in part.split("-")] for part in table.split()]
    return frozenset(chr(c) for span in found for c in range(span[0], span[-1] + 1))


def normalize(step: str, text: str) -> tuple[str, list[int]]:
    """The text after a step, and of each of its characters the one that it comes from, as tokenizers counts; -1: none.

    Bytes that are no UTF-8 are lone surrogates of the text, and go over.
    """
    if step in _FORMS:
        return _form(*_FORMS[step], text)
    becomes = _STEPS[step]
    made = [becomes(c) for c in text]
    return "".join(made), [n for n, m in enumerate(made) for _ in m]


@dataclass
class _Part:
    """A character of a decomposed text."""

    char: str
    taken: int
    """Characters of the text that it stands for: the first of a decomposition for one, those behind it for none."""

    @property
    def combining(self) -> int:
        return 0 if _is_newer(self.char) else unicodedata.combining(self.char)


def _form(form: Form, decomposed: Form, text: str) -> tuple[str, list[int]]:
    if unicodedata.is_normalized(form, text):  # also with newer characters: any part of a normal text is normal
        return text, list(range(len(text)))
    parts: list[_Part] = []
    for char in text:
        made = char if _is_newer(char) else unicodedata.normalize(decomposed, char)
        parts += [_Part(c, int(n == 0)) for n, c in enumerate(made)]
    _sort(parts)
    if form != decomposed:
        parts = _compose(parts)
    source, at = [], 0
    for part in parts:
        source.append(at if part.taken else at - 1)
        at += part.taken
    return "".join(part.char for part in parts), source


def _sort(parts: list[_Part]) -> None:
    """Put each run of marks in the order of their combining classes."""
    begin = 0
    for end in range(len(parts) + 1):
        if end == len(parts) or parts[end].combining == 0:
            parts[begin:end] = sorted(parts[begin:end], key=lambda part: part.combining)
            begin = end + 1


def _compose(parts: list[_Part]) -> list[_Part]:
    made: list[_Part] = []
    starter: int | None = None
    for part in parts:
        if starter is not None and (starter == len(made) - 1 or made[-1].combining < part.combining):
            pair = made[starter].char + part.char
            one = pair if any(map(_is_newer, pair)) else unicodedata.normalize("NFC", pair)
            if len(one) == 1 and not _is_newer(one):
                made[starter] = _Part(one, made[starter].taken + part.taken)
                continue
        if part.combining == 0:
            starter = len(made)
        made.append(part)
    return made


def _is_newer(char: str) -> bool:
    return char in characters(normalize_tables.NEWER)


def _lowercase(char: str) -> str:
    return _LOWER.get(char) or char.lower()  # one character has no context: a sigma is never a final one


def _without(gone: str, space: str = "") -> Callable[[str], str]:
    return lambda char: "" if char in characters(gone) else " " if char in characters(space) else char


_STEPS: dict[str, Callable[[str], str]] = {
    "Lowercase": _lowercase,
    "StripAccents": _without(normalize_tables.MARKS),
    "Nmt": _without(normalize_tables.NMT_GONE, normalize_tables.NMT_SPACE),
    "clean_text": _without(normalize_tables.BERT_GONE, normalize_tables.BERT_SPACE),
    "handle_chinese_chars": lambda char: f" {char} " if char in characters(normalize_tables.CHINESE) else char,
    "strip_accents": _without(normalize_tables.NONSPACING),
}
