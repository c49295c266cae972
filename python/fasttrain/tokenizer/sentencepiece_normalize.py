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


class Normalizer:
    """Normalises texts for one model."""

    def __init__(self, model: SentencePieceModel) -> None:
        self._model = model
        names = sorted((p.decode("utf-8", "replace") for p, k in zip(model.pieces, model.kinds) if k == Kind.USER_DEFINED),
                       key=len, reverse=True)  # fmt: skip
        self._symbols = re.compile("|".join(map(re.escape, names))) if names else None

    def __call__(self, raw: bytes) -> bytes:
        """The normalised text of one text."""
        model = self._model
        text = raw.decode("utf-8", _REPLACE_EACH)
        if not text:
            return b""
        parts = [part for part, _ in self._parts(text)] if self._symbols or model.charsmap else [text]
        space = SPACE if model.escape_whitespaces else " "
        if model.remove_extra_whitespaces:
            body = re.sub(" +", " ", "".join(parts)).strip(" ")
            if not body and not "".join(parts).strip(" "):
                return b""
        else:
            body = "".join(parts)
        if model.add_dummy_prefix:
            body = body + " " if model.whitespace_as_suffix else " " + body
        return body.replace(" ", space).encode()

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
            out.append(text[at:place])
            size, replacement = self._charsmap.longest(text[place : place + self._charsmap.longest_key].encode())
            if size:
                out.append(replacement)
                at = place + size
            else:
                out.append(text[place])
                at = place + 1
        out.append(text[at:])
        return "".join(out)

    @cached_property
    def _charsmap(self) -> "_Charsmap":
        return _Charsmap(self._model.charsmap)

    @cached_property
    def _candidate(self) -> re.Pattern[str]:
        """Matches at every place where a string of the map may begin."""
        single, second = self._charsmap.characters()
        alone, before = (f"[{''.join(map(re.escape, sorted(chars)))}]" for chars in (single, second or {"\0"}))
        return re.compile(f"{alone}|.(?={before})" if single else f".(?={before})", re.DOTALL)


class _Charsmap:
    """A precompiled map: strings and their replacements."""

    def __init__(self, blob: bytes) -> None:
        (size,) = struct.unpack_from("<I", blob)
        self._units = np.frombuffer(blob, "<u4", size // 4, 4).tolist()
        self._strings = blob[4 + size :]
        self.longest_key = 32  # characters looked at; the longest string of the shipped maps has 4

    def longest(self, key: bytes) -> tuple[int, str]:
        """Characters of the longest string of the map that `key` begins with, and its replacement; 0 when none does."""
        best, value = 0, 0
        for length, found in self._prefixes(key):
            best, value = length, found
        if not best:
            return 0, ""
        return len(key[:best].decode()), self._string(value)

    def characters(self) -> tuple[set[str], set[str]]:
        """Characters that are a string of the map by themselves, and those that stand second in a longer one."""
        single, second = set(), set()
        for key in self._keys(b"", self._root()):
            text = key.decode("utf-8", "replace")
            if len(text) == 1:
                single.add(text)
            else:
                second.add(text[1])
        return single, second

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

    def _keys(self, prefix: bytes, node: int) -> Iterator[bytes]:
        for byte in range(1, 256):
            at = node ^ byte
            unit = self._units[at] if at < len(self._units) else 0
            if unit & 0x800000FF == byte:
                key = prefix + bytes([byte])
                if unit >> 8 & 1:
                    yield key
                yield from self._keys(key, at ^ _offset(unit))

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
