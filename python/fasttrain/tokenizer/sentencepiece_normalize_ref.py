"""What sentencepiece's normalizer.cc does, place by place."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

SPACE = "\u2581"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a model normalises; its fields are those of SentencePieceModel."""

    charsmap: bytes
    symbols: tuple[bytes, ...]
    """User-defined: what they cover is not replaced."""
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    whitespace_as_suffix: bool

    @cached_property
    def units(self) -> bytes:
        """The map's double array, little-endian words."""
        if not self.charsmap:
            return b""
        (size,) = struct.unpack_from("<I", self.charsmap)
        return self.charsmap[4 : 4 + size - size % 4]

    @cached_property
    def strings(self) -> bytes:
        """The map's replacements, each ends in a zero byte."""
        return self.charsmap[4 + len(self.units) :]


def normalize(rules: Rules, raw: bytes) -> bytes:
    """The normalised text of one text."""
    charsmap, at = _Charsmap(rules), 0
    space = SPACE.encode() if rules.escape_whitespaces else b" "
    while rules.remove_extra_whitespaces and at < len(raw):
        piece, size = _prefix(rules, charsmap, raw, at)
        if piece != b" ":
            break
        at += size
    if at == len(raw):
        return b""
    out = bytearray(space if rules.add_dummy_prefix and not rules.whitespace_as_suffix else b"")
    after_space = rules.remove_extra_whitespaces
    while at < len(raw):
        piece, size = _prefix(rules, charsmap, raw, at)
        at += size
        if after_space:
            piece = piece.lstrip(b" ")
        out += piece.replace(b" ", space)
        if piece:
            after_space = rules.remove_extra_whitespaces and piece.endswith(b" ")
    while rules.remove_extra_whitespaces and out.endswith(space):
        del out[-len(space) :]
    if rules.add_dummy_prefix and rules.whitespace_as_suffix:
        out += space
    return bytes(out)


def _prefix(rules: Rules, charsmap: "_Charsmap", raw: bytes, at: int) -> tuple[bytes, int]:
    """What stands for the text at `at`, and how many of its bytes that takes."""
    found = max((s for s in rules.symbols if s and raw.startswith(s, at)), key=len, default=b"")
    if found:
        return found, len(found)
    longest = max(charsmap.prefixes(raw, at), default=None)
    if longest:
        return charsmap.string(longest[1]), longest[0]
    lead = raw[at]
    size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    try:
        raw[at : at + size].decode()
    except UnicodeDecodeError:
        return "\ufffd".encode(), 1
    return raw[at : at + size], size


class _Charsmap:
    """A double array of darts-clone: strings and their replacements."""

    def __init__(self, rules: Rules) -> None:
        self._units = memoryview(rules.units).cast("I")
        self._strings = rules.strings

    def prefixes(self, raw: bytes, at: int) -> Iterator[tuple[int, int]]:
        """(bytes, place of the replacement) of each string of the map that stands at `at`."""
        units = self._units
        if not units:
            return
        node = _offset(units[0])
        for i in range(at, len(raw)):
            node ^= raw[i]
            if node >= len(units) or units[node] & 0x800000FF != raw[i]:
                return
            unit = units[node]
            node ^= _offset(unit)
            if unit >> 8 & 1 and node < len(units):
                yield i + 1 - at, units[node] & 0x7FFFFFFF

    def string(self, at: int) -> bytes:
        return self._strings[at:].split(b"\0", 1)[0]


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)
