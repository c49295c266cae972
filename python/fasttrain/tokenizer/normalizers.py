"""The normalisers of a tokenizer.json: what they make of a text, exactly as Hugging Face tokenizers 0.23 does.

Its NFC, NFD, NFKC and NFKD are of Unicode 9.0: characters that came later neither decompose nor combine. Normal forms
of older characters never change, so Python's are used between those (normalize_tables.NEWER). StripAccents is of
Unicode 9.0 too, Lowercase of 17.0 and without the final form of sigma.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from fasttrain.core.errors import FormatError
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import normalize_tables

Step = Callable[[str], str]
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space of Unicode, as members of a class of `re`."""
_FORMS: Mapping[str, Literal["NFC", "NFD", "NFKC", "NFKD"]] = {
    "NFC": "NFC",
    "NFD": "NFD",
    "NFKC": "NFKC",
    "NFKD": "NFKD",
}
_KEEPS_ASCII = {*_FORMS, "StripAccents"}
_FIRST_PLANE = "\uffff"
_BYTES = "surrogateescape"  # bytes that are no UTF-8 pass through


class Normalizer:
    """One normaliser, or a Sequence of them."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        """Args: data: as tokenizer.json has it. Raises: FormatError: one that is not known to be exact here."""
        found = _flat(data, where)
        self._steps = [_step(part, where) for part in found]
        self._keeps_ascii = all(part["type"] in _KEEPS_ASCII for part in found)

    def __call__(self, text: str) -> str:
        """The text as the pretokenizer sees it."""
        if self._keeps_ascii and text.isascii():
            return text
        for step in self._steps:
            text = step(text)
        return text

    def column(self, column: TextColumn) -> TextColumn:
        """N texts normalised; the column itself when nothing changes."""
        begin, end = int(column.offsets[0]), int(column.offsets[-1])
        if self._keeps_ascii and (begin == end or int(np.max(column.data[begin:end])) < 0x80):
            return column
        raw = [column[n] for n in range(len(column))]
        made = [self(r.decode("utf-8", _BYTES)).encode("utf-8", _BYTES) for r in raw]
        return column if made == raw else columns.from_texts(made)


def characters(table: str) -> frozenset[str]:
    """The characters of a table of normalize_tables."""
    spans = [[int(c, 16) for c in part.split("-")] for part in table.split()]
    return frozenset(chr(c) for span in spans for c in range(span[0], span[-1] + 1))


def _candidates(chars: frozenset[str] | set[str]) -> re.Pattern[str]:
    """Matches the characters, and all beyond the first plane: `re` walks a class with some of these one by one."""
    return re.compile(
        f"[{''.join(map(re.escape, sorted(c for c in chars if c <= _FIRST_PLANE)))}]|[^\0-{_FIRST_PLANE}]"
    )


def _flat(data: Any, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise FormatError(f"{where}: normalizer must be an object with a type, got {data!r}")
    if data["type"] != "Sequence":
        return [data]
    parts = data.get("normalizers")
    if not isinstance(parts, list):
        raise FormatError(f"{where}: normalizer.normalizers must be a list, got {parts!r}")
    return [step for part in parts for step in _flat(part, where)]


def _step(data: Mapping[str, Any], where: str) -> Step:
    kind = data["type"]
    if kind in _FORMS:
        return _form(_FORMS[kind])
    if kind == "Lowercase":
        return _lowercase
    if kind == "StripAccents":
        marks = characters(normalize_tables.MARKS)
        candidate = _candidates(marks)
        return lambda text: candidate.sub(lambda m: "" if m.group() in marks else m.group(), text)
    if kind == "Strip":
        return _strip(data, where)
    if kind == "Prepend":
        prefix = _text(data, "prepend", where)
        return lambda text: prefix + text if text else text
    if kind == "Replace":
        return _replace(data, where)
    raise FormatError(
        f"{where}: normalizer {kind!r} is not supported; NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, "
        "Replace, Prepend and Sequences of them are"
    )


def _form(name: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> Step:
    newer = characters(normalize_tables.NEWER)
    candidate = _candidates(newer)

    def step(text: str) -> str:
        if unicodedata.is_normalized(name, text):  # so is what lies between newer characters, as any part of it
            return text
        out, at = [], 0
        for found in candidate.finditer(text):
            if found.group() in newer:
                out += [unicodedata.normalize(name, text[at : found.start()]), found.group()]
                at = found.end()
        return "".join([*out, unicodedata.normalize(name, text[at:])])

    return step


_LOWER = {
    chr(int(char, 16)): "".join(chr(int(c, 16)) for c in text.split("+"))
    for char, text in (pair.split(":") for pair in normalize_tables.LOWER.split())
} | {"Σ": "σ"}
_SPECIAL_LOWER = _candidates(set(_LOWER))


def _lowercase(text: str) -> str:
    # Without sigmas there is no context: the lower case of a text is that of its characters.
    return _SPECIAL_LOWER.sub(lambda found: _LOWER.get(found.group(), found.group()), text).lower()


def _strip(data: Mapping[str, Any], where: str) -> Step:
    left, right = data.get("strip_left"), data.get("strip_right")
    if not isinstance(left, bool) or not isinstance(right, bool):
        raise FormatError(f"{where}: normalizer Strip must have strip_left and strip_right, got {dict(data)!r}")
    ends = [f"\\A[{SPACE}]+"] * left + [f"[{SPACE}]+\\Z"] * right
    if not ends:
        return lambda text: text
    pattern = re.compile("|".join(ends))
    return lambda text: pattern.sub("", text)


# An expression that Oniguruma and Python read alike: characters, escaped signs and sets of plain characters, each
# with at most one of + {n} {n,} {n,m}. No empty match, no alternatives or groups, no class that a version changes.
_ATOM = r"(?:[^\\\[\]{}()*+?.^$|#]|\\[\\\[\]{}()*+?.^$|/\- ]|\\[nrt]|\[[^\]\[\\^&\-]+\])"
_SIMPLE = re.compile(rf"(?:{_ATOM}(?:\+|\{{[1-9]\d{{0,3}}(?:,(?:[1-9]\d{{0,3}})?)?\}})?)+", re.ASCII)


def _replace(data: Mapping[str, Any], where: str) -> Step:
    content, pattern = _text(data, "content", where), data.get("pattern")
    if not isinstance(pattern, Mapping) or len(pattern) != 1:
        raise FormatError(f"{where}: normalizer Replace must have a pattern, a String or a Regex, got {pattern!r}")
    if isinstance(old := pattern.get("String"), str) and old:
        return lambda text: text.replace(old, content)
    expression = pattern.get("Regex")
    if not isinstance(expression, str) or not _SIMPLE.fullmatch(expression):
        raise FormatError(
            f"{where}: normalizer Replace by {dict(pattern)!r} is not supported: only texts and expressions of plain "
            "characters and sets with + or {n,m} are, which mean the same in every engine"
        )
    for least, most in re.findall(r"(?<!\\)\{(\d+),(\d+)\}", expression):
        if int(least) > int(most):
            raise FormatError(f"{where}: normalizer Replace: {{{least},{most}}} must not fall")
    compiled = re.compile(expression)
    return lambda text: compiled.sub(lambda _: content, text)


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise FormatError(f"{where}: normalizer {data['type']}.{key} must be a text, got {value!r}")
    return value
