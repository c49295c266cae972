"""Regular expressions of tokenizer.json files that Oniguruma (in Ruby's syntax, as tokenizers has it) and Python read
alike, or that can be written so. Others are refused: an engine that cuts elsewhere still gives ids.

Known: characters and escaped signs, `.`, sets with ranges and `^`, `\\s`, `\\S`, `\\p{L}`, `\\p{N}` and `\\p{M}` (of
the Unicode version that tokenizers has), groups, `|`, `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, lazy and possessive `*`,
`+` and `?`, and what stands ahead, `(?=` and `(?!`. Not known, among others: `\\d`, `\\w`, `\\b`, `^`, `$`, `(?i)`,
references, `&&` in sets, and a quantifier behind another (`{1,3}+` repeats the group there and is possessive here).
No match may be empty: engines go on behind one differently.
"""

import re
from collections.abc import Sequence

from fasttrain.tokenizer import unicode_ln

_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_SIGNS = frozenset("\\[]{}()*+?.^$|#/-&~ '\"`_,:;<>=!@%")
_PLAIN_NOT = frozenset("\\[]{}()*+?.^$|")
_INTERVAL = re.compile(r"\{([0-9]{1,4})(,([0-9]{1,4})?)?\}", re.ASCII)
_PROPERTY = re.compile(r"\\([pP])\{(\^?)([LNM])\}")


def compile_(expression: str) -> re.Pattern[str]:
    """The expression for `re`. Raises ValueError: what in it is not known to mean the same."""
    reader = _Reader(expression)
    written, width = reader.alternatives()
    if reader.at < len(expression):
        raise ValueError(f"{expression[reader.at :]!r} stands behind its end")
    if not width:
        raise ValueError("it may match nothing at a place")
    return re.compile(written)


_Written = tuple[str, int]
"""An expression for `re`, and the least characters that it matches."""


class _Reader:
    """Writes what stands at `at`, and goes behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def alternatives(self) -> _Written:
        """Up to a closing bracket or the end."""
        out = [self._row()]
        while self._next("|"):
            out.append(self._row())
        return "|".join(text for text, _ in out), min(width for _, width in out)

    def _row(self) -> _Written:
        out, width = "", 0
        while self.at < len(self._text) and self._text[self.at] not in "|)":
            text, more = self._atom()
            out, width = out + text, width + more
        return out, width

    def _atom(self) -> _Written:
        for opening in ("(?:", "(?=", "(?!", "("):
            if self._next(opening):
                break
        else:
            return self._quantified(self._single(), 1)
        if opening == "(" and self._peek("?"):
            raise self._unknown(self.at - 1, 3)
        inner, width = self.alternatives()
        if not self._next(")"):
            raise ValueError("a group has no end")
        if opening in ("(?=", "(?!"):
            if self._peek(*"*+?{"):
                raise self._unknown(self.at, 1)
            return f"{opening}{inner})", 0
        return self._quantified(f"(?:{inner})", width)

    def _single(self) -> str:
        if self._next("."):
            return "."
        if self._next("["):
            return self._set()
        spans = self._character_class()
        if spans is None:
            return re.escape(self._character(_PLAIN_NOT))
        return f"[{_written(spans)}]"

    def _quantified(self, atom: str, width: int) -> _Written:
        begin, least = self.at, 1
        if interval := _INTERVAL.match(self._text, self.at):
            least = int(interval[1])
            if interval[3] and int(interval[3]) < least:
                raise ValueError(f"{interval[0]} must not fall")
            self.at = interval.end()
        elif self._peek(*"*+?"):
            least = int(self._peek("+"))
            self.at += 1
            if self._peek("+", "?"):  # possessive, lazy
                self.at += 1
        if self._peek(*"*+?{"):
            raise self._unknown(self.at, 1)
        if self.at > begin and not width:
            raise ValueError("what is repeated may match nothing")
        return atom + self._text[begin : self.at], least * width

    def _set(self) -> str:
        is_negated = self._next("^")
        spans: list[tuple[int, int]] = []
        begin = self.at
        while not self._next("]"):
            if self._peek("&&", "[:", "["):
                raise self._unknown(self.at, 2)
            found = self._character_class()
            if found is not None:
                spans += found
                if self._peek("-") and not self._peek("-]"):
                    raise self._unknown(self.at, 2)
                continue
            if self._peek("-") and self.at != begin and not self._peek("-]"):
                raise self._unknown(self.at, 2)  # a range from nothing
            first = last = ord(self._character(frozenset("\\[]^&")))
            if self._peek("-") and not self._peek("-]"):
                self.at += 1
                last = ord(self._character(frozenset("\\[]^&-")))
            if last < first:
                raise ValueError(f"a range of a set must not fall: {chr(first)!r}-{chr(last)!r}")
            spans.append((first, last))
        if not spans:
            raise ValueError("a set is empty")
        return f"[{'^' * is_negated}{_written(spans)}]"

    def _character_class(self) -> Sequence[tuple[int, int]] | None:
        """Spans of \\s, \\S or a property."""
        if self._next(r"\s"):
            return unicode_ln.S
        if self._next(r"\S"):
            return _others(unicode_ln.S)
        found = _PROPERTY.match(self._text, self.at)
        if not found:
            return None
        self.at = found.end()
        spans = {"L": unicode_ln.L, "N": unicode_ln.N, "M": unicode_ln.MARK}[found[3]]
        return spans if (found[1] == "p") == (not found[2]) else _others(spans)

    def _character(self, special: frozenset[str]) -> str:
        """One character, or an escaped one."""
        if self.at == len(self._text):
            raise ValueError("it ends inside a set or an escape")
        char = self._text[self.at]
        if char == "\\" and self.at + 1 < len(self._text):
            escaped = self._text[self.at + 1]
            if escaped not in _ESCAPED and escaped not in _SIGNS:
                raise self._unknown(self.at, 2)
            self.at += 2
            return _ESCAPED.get(escaped, escaped)
        if char in special:
            raise self._unknown(self.at, 1)
        self.at += 1
        return char

    def _next(self, text: str) -> bool:
        if not self._peek(text):
            return False
        self.at += len(text)
        return True

    def _peek(self, *texts: str) -> bool:
        return self._text.startswith(texts, self.at)

    def _unknown(self, at: int, size: int) -> ValueError:
        return ValueError(f"{self._text[at : at + size]!r} may mean something else in another engine")


def _others(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """All characters but these."""
    begins = [0, *(last + 1 for _, last in spans)]
    ends = [*(first - 1 for first, _ in spans), 0x10FFFF]
    return [(a, b) for a, b in zip(begins, ends) if a <= b]


def _written(spans: Sequence[tuple[int, int]]) -> str:
    return "".join(f"\\U{a:08x}-\\U{b:08x}" if a < b else f"\\U{a:08x}" for a, b in spans)
