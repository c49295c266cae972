"""Which normalisers of a tokenizer.json are known, and what each is made of. One that is not exact here is refused."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fasttrain.core.errors import FormatError
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import expressions, unicode_ln
from fasttrain.tokenizer.normalize import BYTES, Source, normalize, normalize_aligned
from fasttrain.tokenizer.precompiled import Precompiled

Edit = tuple[int, int, str, int]
"""Characters begin..end of a text become `text`, which comes from one character; -1: from none."""

SPACES = "".join(chr(c) for first, last in unicode_ln.S for c in range(first, last + 1))
"""White space of Unicode."""

_BERT = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
_BY_TABLE = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")


class Step(Protocol):
    """What is done to every text, one after another."""

    def column(self, column: TextColumn, threads: int | None) -> TextColumn:
        """The texts after it; the column itself when none changes."""
        ...

    def aligned(self, column: TextColumn, threads: int | None) -> tuple[TextColumn, Source]:
        """The same, and where each byte comes from: see normalize_aligned."""
        ...


def read_steps(data: Any, where: str) -> list[Step]:
    """The steps of a normaliser as tokenizer.json has it. Raises FormatError: one is not known to be exact here."""
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise FormatError(f"{where}: normalizer must be an object with a type, got {data!r}")
    kind = data["type"]
    if kind == "Sequence":
        parts = data.get("normalizers")
        if not isinstance(parts, list):
            raise FormatError(f"{where}: normalizer.normalizers must be a list, got {parts!r}")
        return [step for part in parts for step in read_steps(part, where)]
    if kind in _BY_TABLE:
        return [_Table(kind)]
    if kind == "BertNormalizer":
        return _bert(data, where)
    if kind == "Strip":
        return [_strip(data, where)]
    if kind == "Prepend":
        return [_prepend(_text(data, "prepend", where))]
    if kind == "Replace":
        return [_replace(data, where)]
    if kind == "Precompiled":
        return [_Map(Precompiled(data, where), where)]
    raise FormatError(
        f"{where}: normalizer {kind!r} is not supported; {', '.join(_BY_TABLE)}, BertNormalizer, Strip, Replace, "
        "Prepend, Precompiled and Sequences of them are"
    )


@dataclass(frozen=True)
class _Table:
    """A step of `normalize`."""

    name: str

    def column(self, column: TextColumn, threads: int | None) -> TextColumn:
        return normalize(column, step=self.name, threads=threads)

    def aligned(self, column: TextColumn, threads: int | None) -> tuple[TextColumn, Source]:
        return normalize_aligned(column, step=self.name, threads=threads)


@dataclass(frozen=True)
class _Edits:
    """A step that changes places of a text."""

    text: Callable[[str], str]
    edits: Callable[[str], Iterator[Edit]]

    def column(self, column: TextColumn, threads: int | None) -> TextColumn:
        raw = [column[n] for n in range(len(column))]
        made = [self.text(r.decode("utf-8", BYTES)).encode("utf-8", BYTES) for r in raw]
        return column if made == raw else columns.from_texts(made)

    def aligned(self, column: TextColumn, threads: int | None) -> tuple[TextColumn, Source]:
        made, sources = [], [np.zeros(0, np.int64)]
        for n in range(len(column)):
            text = column[n].decode("utf-8", BYTES)
            place = np.cumsum([0, *(len(c.encode("utf-8", BYTES)) for c in text)])  # of each character
            parts, at = [], 0
            for begin, end, new, source in self.edits(text):
                raw = new.encode("utf-8", BYTES)
                parts += [text[at:begin].encode("utf-8", BYTES), raw]
                sources += [np.arange(place[at], place[begin]), np.full(len(raw), place[source] if source >= 0 else -1)]
                at = end
            parts.append(text[at:].encode("utf-8", BYTES))
            sources.append(np.arange(place[at], place[-1]))
            made.append(b"".join(parts))
        return columns.from_texts(made), np.concatenate(sources)


@dataclass(frozen=True)
class _Map:
    """SentencePiece's map."""

    text: Precompiled
    where: str

    def column(self, column: TextColumn, threads: int | None) -> TextColumn:
        raw = [column[n] for n in range(len(column))]
        made = [self.text(r.decode("utf-8", BYTES)).encode("utf-8", BYTES) for r in raw]
        return column if made == raw else columns.from_texts(made)

    def aligned(self, column: TextColumn, threads: int | None) -> tuple[TextColumn, Source]:
        raise FormatError(f"{self.where}: normalizer Precompiled says not where its characters come from: no spans")


def _bert(data: Mapping[str, Any], where: str) -> list[Step]:
    wanted = {name: data.get(name) for name in _BERT}
    for name, value in wanted.items():
        if not isinstance(value, bool) and (value is not None or name != "strip_accents"):
            raise FormatError(f"{where}: normalizer BertNormalizer.{name} must be true or false, got {value!r}")
    if wanted["strip_accents"] is None:  # as its model does: cased ones keep them
        wanted["strip_accents"] = wanted["lowercase"]
    steps: dict[str, list[Step]] = {
        "clean_text": [_Table("clean_text")],
        "handle_chinese_chars": [_Table("handle_chinese_chars")],
        "strip_accents": [_Table("NFD"), _Table("strip_accents")],
        "lowercase": [_Table("Lowercase")],
    }
    return [step for name in _BERT if wanted[name] for step in steps[name]]


def _strip(data: Mapping[str, Any], where: str) -> _Edits:
    left, right = data.get("strip_left"), data.get("strip_right")
    if not isinstance(left, bool) or not isinstance(right, bool):
        raise FormatError(f"{where}: normalizer Strip must have strip_left and strip_right, got {dict(data)!r}")

    def kept(text: str) -> tuple[int, int]:
        begin = len(text) - len(text.lstrip(SPACES)) if left else 0
        return begin, max(begin, len(text.rstrip(SPACES)) if right else len(text))

    def edits(text: str) -> Iterator[Edit]:
        begin, end = kept(text)
        yield 0, begin, "", -1
        yield end, len(text), "", -1

    return _Edits(lambda text: text[slice(*kept(text))], edits)


def _prepend(prefix: str) -> _Edits:
    def edits(text: str) -> Iterator[Edit]:
        if text:
            yield 0, 0, prefix, 0

    return _Edits(lambda text: prefix + text if text else text, edits)


def _replace(data: Mapping[str, Any], where: str) -> _Edits:
    content, pattern = _text(data, "content", where), data.get("pattern")
    if not isinstance(pattern, Mapping) or len(pattern) != 1:
        raise FormatError(f"{where}: normalizer Replace must have a pattern, a String or a Regex, got {pattern!r}")
    plain, expression = pattern.get("String"), pattern.get("Regex")
    if isinstance(plain, str) and plain:
        found = re.compile(re.escape(plain))
    elif isinstance(expression, str):
        try:
            found = expressions.compile_(expression)
        except ValueError as error:
            raise FormatError(f"{where}: normalizer Replace by {expression!r} is not supported: {error}") from None
    else:
        raise FormatError(f"{where}: normalizer Replace by {dict(pattern)!r} is not supported: it matches nothing")

    def edits(text: str) -> Iterator[Edit]:
        for match in found.finditer(text):
            yield match.start(), match.end(), content, match.end() - 1

    return _Edits(lambda text: found.sub(lambda _: content, text), edits)


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise FormatError(f"{where}: normalizer {data['type']}.{key} must be a text, got {value!r}")
    return value
