"""The Precompiled normaliser of a tokenizer.json, exactly as Hugging Face tokenizers 0.23 applies SentencePiece's maps.

A grapheme cluster of fewer than 6 bytes that begins with a string of the map, the shortest one, becomes what that
stands for, whatever else is in it; of any other each character is looked up by itself. (sentencepiece replaces the
longest strings and knows no clusters.) Clusters of fewer than 6 bytes have few forms: of the rules of UAX 29 those for
flags, Hangul, emoji and conjuncts only say here that a cluster is longer.
"""

import base64
import binascii
import re
from functools import cached_property
from typing import Any

import numpy as np

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer import grapheme_tables
from fasttrain.tokenizer.normalize_ref import characters
from fasttrain.tokenizer.sentencepiece_normalize_ref import Rules

_MAX_BYTES = 6
_JOINER = "\u200d"


class Precompiled:
    """One such normaliser."""

    def __init__(self, data: Any, where: str) -> None:
        """Args: data: as tokenizer.json has it. Raises: FormatError: no map, or a damaged one."""
        key = f"{where}: normalizer Precompiled.precompiled_charsmap"
        encoded = data.get("precompiled_charsmap")
        try:
            if not isinstance(encoded, str):
                raise ValueError("it is no text")
            self._strings = strings(base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error) as error:
            raise FormatError(f"{key} must be a map of SentencePiece in base 64 ({error})") from None
        self._single = {ord(k): v for k, v in self._strings.items() if len(k) == 1}

    def __call__(self, text: str) -> str:
        """The text with what the map has replaced."""
        if not self._strings:
            return text
        out, at = [], 0
        joins_next = -1  # where an emoji sequence goes on, or a conjunct
        for found in _cluster().finditer(text):
            begin, end = found.span()
            is_part = begin == joins_next or (begin > 0 and _is_syllable(text[begin - 1], text[begin]))
            joins_next = end if _goes_on(text, begin, end) else -1
            if is_part or joins_next == end or len(found.group().encode("utf-8", "surrogatepass")) >= _MAX_BYTES:
                continue
            known = next(
                (k for n in range(1, end - begin + 1) if (k := text[begin : begin + n]) in self._strings), None
            )
            if known is not None:
                out += [text[at:begin].translate(self._single), self._strings[known]]
                at = end
        return "".join([*out, text[at:].translate(self._single)])


def strings(charsmap: bytes) -> dict[str, str]:
    """What a map replaces of fewer than 6 bytes, and by what. Raises ValueError: it is damaged."""
    if not charsmap:
        return {}
    if len(charsmap) < 4:
        raise ValueError("it is cut off")
    rules = Rules(charsmap=charsmap, symbols=(), add_dummy_prefix=False, remove_extra_whitespaces=False,
                  escape_whitespaces=False, whitespace_as_suffix=False)  # fmt: skip
    units = np.frombuffer(rules.units, "<u4").astype(np.int64)
    if not len(units):
        raise ValueError("it has no double array")
    labels = np.arange(1, 256)
    bases, keys = np.array([_offset(units[:1])[0]]), [b""]
    found: dict[str, str] = {}
    for _ in range(_MAX_BYTES - 1):
        places = bases[:, None] ^ labels[None, :]
        inside = places < len(units)
        values = units[np.where(inside, places, 0)]
        rows, columns = np.nonzero(inside & ((values & 0x800000FF) == labels[None, :]))
        if not len(rows):
            return found
        at = places[rows, columns]
        keys = [keys[r] + bytes([labels[c]]) for r, c in zip(rows.tolist(), columns.tolist())]
        bases = at ^ _offset(units[at])
        for k in np.nonzero(units[at] >> 8 & 1)[0].tolist():
            if bases[k] >= len(units):
                raise ValueError("its double array leaves itself")
            start = int(units[bases[k]] & 0x7FFFFFFF)
            end = rules.strings.find(b"\0", start)
            if start > len(rules.strings) or end < 0:
                raise ValueError("a replacement is cut off")
            found[keys[k].decode()] = rules.strings[start:end].decode()
    return found


def _offset(units: Any) -> Any:
    return (units >> 10) << ((units & 0x200) >> 6)


class _Sets:
    extend = characters(grapheme_tables.EXTEND)
    pictures = characters(grapheme_tables.PICTURES)
    consonants = characters(grapheme_tables.CONSONANTS)
    linkers = characters(grapheme_tables.LINKERS)


def _class(table: str) -> str:
    return "".join("-".join(re.escape(chr(int(c, 16))) for c in part.split("-")) for part in table.split())


class _Pattern:
    @cached_property
    def cluster(self) -> re.Pattern[str]:
        """What may be a cluster of several characters."""
        extend, control = _class(grapheme_tables.EXTEND), _class(grapheme_tables.CONTROL)
        prepend = _class(grapheme_tables.PREPEND)
        return re.compile(f"\r\n|[{prepend}]+[^{control}{prepend}\0]?[{extend}]*|[^{control}\0][{extend}]+")


_PATTERN = _Pattern()


def _cluster() -> re.Pattern[str]:
    return _PATTERN.cluster


def _goes_on(text: str, begin: int, end: int) -> bool:
    """Whether the cluster is longer than text[begin:end]: an emoji sequence or a conjunct goes on behind it."""
    base, following = text[begin], text[end : end + 1]
    if base in _Sets.pictures and text[end - 1] == _JOINER and following in _Sets.pictures:
        return bool(following)
    if base in _Sets.consonants and following in _Sets.consonants and following:
        return any(c in _Sets.linkers for c in text[begin + 1 : end])
    return False


def _is_syllable(left: str, right: str) -> bool:
    """Whether two characters are part of one Hangul syllable."""
    return _hangul(right) in _SYLLABLE.get(_hangul(left), ())


_SYLLABLE = {"L": ("L", "V", "LV", "LVT"), "LV": ("V", "T"), "V": ("V", "T"), "LVT": ("T",), "T": ("T",)}


def _hangul(char: str) -> str:
    c = ord(char)
    if 0xAC00 <= c <= 0xD7A3:
        return "LVT" if (c - 0xAC00) % 28 else "LV"
    if 0x1100 <= c <= 0x115F or 0xA960 <= c <= 0xA97C:
        return "L"
    if 0x1160 <= c <= 0x11A7 or 0xD7B0 <= c <= 0xD7C6:
        return "V"
    return "T" if 0x11A8 <= c <= 0x11FF or 0xD7CB <= c <= 0xD7FB else ""
