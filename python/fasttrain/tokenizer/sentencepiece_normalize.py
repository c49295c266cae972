"""Text as a SentencePiece model sees it: characters replaced by its map, white space by U+2581.

The map is a double array (darts-clone) over UTF-8; at each place the longest of its strings is replaced. Most text has
few such places, so they are found by a regular expression and only there is the array asked.
"""

import codecs
import re
import struct
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel

SPACE = "\u2581"
_LONGEST_KEY = 32  # characters looked at; the longest string of the maps that ship with sentencepiece has 4


class Normalizer:
    """Normalises texts for one model."""

    def __init__(self, model: SentencePieceModel) -> None:
        self._model = model
        symbols = [p for p, kind in zip(model.pieces, model.kinds) if kind == Kind.USER_DEFINED]
        names = sorted((p.decode("utf-8", "replace") for p in symbols), key=len, reverse=True)
        self._symbols = re.compile("|".join(map(re.escape, names))) if names else None

    def __call__(self, raw: bytes) -> bytes:
        """The normalised text of one text."""
        model = self._model
        text = raw.decode("utf-8", _REPLACE_EACH)
        if not text:
            return b""
        parts = [part for part, _ in self._parts(text)] if self._symbols or model.charsmap else [text]
        space = SPACE if model.escape_whitespaces else " "
        body = "".join(parts)
        if model.remove_extra_whitespaces:
            body = re.sub(" +", " ", body).lstrip(" ")
            # A text of nothing but spaces is nothing; characters that the map deletes are a text, if an empty one.
            if not body and all(self._replaced(c) == " " for c in text):
                return b""
        if model.add_dummy_prefix and not model.whitespace_as_suffix:
            body = " " + body
        body = body.replace(" ", space)
        if model.remove_extra_whitespaces:
            body = body.rstrip(space)  # also U+2581 that the text itself ends in
        if model.add_dummy_prefix and model.whitespace_as_suffix:
            body += space
        return body.encode()

    def inner(self, raw: bytes) -> bytes:
        """A stretch of text as it is normalised inside a longer one: its spaces stay, none is added."""
        parts = [part for part, _ in self._parts(raw.decode("utf-8", _REPLACE_EACH))]
        return "".join(parts).replace(" ", SPACE if self._model.escape_whitespaces else " ").encode()

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Pieces of the text after replacement, and whether each is a user-defined symbol, which nothing replaces."""
        at = 0
        for found in self._symbols.finditer(text) if self._symbols else ():
            yield self._replaced(text[at : found.start()]), False
            yield found.group(), True
            at = found.end()
        yield self._replaced(text[at:]), False

    def _replaced(self, text: str) -> str:
        if not self._model.charsmap or not text:
            return text
        out, at = [], 0
        while (found := self._candidate.search(text, at)) is not None:
            place = found.start()
            # A character that stands second in a string of the map points at the one before it.
            begins = (place - 1, place) if place > at and found.group() in self._charsmap.second else (place,)
            for begin in begins:
                size, replacement = self._charsmap.longest(text[begin : begin + _LONGEST_KEY].encode())
                if size:
                    out += [text[at:begin], replacement]
                    at = begin + size
                    break
            else:
                out.append(text[at : place + 1])
                at = place + 1
        out.append(text[at:])
        return "".join(out)

    @cached_property
    def _charsmap(self) -> "_Charsmap":
        return _Charsmap(self._model.charsmap)

    @cached_property
    def _candidate(self) -> re.Pattern[str]:
        """Matches the characters at or before which a string of the map may begin."""
        chars = sorted(c for c in self._charsmap.single | self._charsmap.second if c <= "\uffff")
        # All beyond the first plane: `re` walks a class that has such members one by one, 100 times as long.
        return re.compile(f"[{''.join(map(re.escape, chars))}]|[\U00010000-\U0010ffff]")


class _Charsmap:
    """A precompiled map: strings and their replacements."""

    def __init__(self, blob: bytes) -> None:
        (size,) = struct.unpack_from("<I", blob)
        self._units = np.frombuffer(blob, "<u4", size // 4, 4).tolist()
        self._strings = blob[4 + size :]
        self.single: set[str] = set()
        """Characters that are a string of the map by themselves."""
        self.second: set[str] = set()
        """Characters that stand second in a longer one."""
        for key in self._keys():
            text = key.decode("utf-8", "replace")
            (self.single if len(text) == 1 else self.second).add(text if len(text) == 1 else text[1])

    def longest(self, key: bytes) -> tuple[int, str]:
        """Characters of the longest string of the map that `key` begins with, and its replacement; 0 when none does."""
        best, value = 0, 0
        for length, found in self._prefixes(key):
            best, value = length, found
        if not best:
            return 0, ""
        return len(key[:best].decode()), self._string(value)

    def _prefixes(self, key: bytes) -> Iterator[tuple[int, int]]:
        units = self._units
        node = self._root()
        for i, byte in enumerate(key):
            node ^= byte
            unit = units[node] if node < len(units) else 0
            if unit & 0x800000FF != byte:
                return
            node ^= _offset(unit)
            if unit >> 8 & 1:
                yield i + 1, units[node] & 0x7FFFFFFF

    def _keys(self) -> Iterator[bytes]:
        """All strings of the map. A child lies at its parent's base, exclusive or its byte."""
        children: dict[int, list[tuple[int, int]]] = {}
        for at, unit in enumerate(self._units):
            if not unit >> 31 and unit & 0xFF:
                children.setdefault(at ^ (unit & 0xFF), []).append((unit & 0xFF, at))
        stack = [(b"", self._root())]
        while stack:
            prefix, base = stack.pop()
            for byte, at in children.get(base, ()):
                key = prefix + bytes([byte])
                if self._units[at] >> 8 & 1:
                    yield key
                stack.append((key, at ^ _offset(self._units[at])))

    def _root(self) -> int:
        return _offset(self._units[0])

    def _string(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _each(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_REPLACE_EACH = "fasttrain_replace_each"  # one U+FFFD for each byte that is no UTF-8, as SentencePiece does
codecs.register_error(_REPLACE_EACH, _each)
