"""Listed words in a text, judged by the words around them: the rules, in plain Python, that the native op must equal.

characters  Letters, numbers and marks make words (a mark, "_" among them, is of the character before it; alone it is a
            word's). Whoever writes Han, hiragana, Thai, Lao, Myanmar or Khmer sets no spaces between words.
boundary    A word may begin or end between two characters of which one makes no words; beside a character of a script
            without spaces, but never before a mark; and where katakana begins or ends: names and loans in it are long,
            and "グロ" is no part of "グローバル". A text's edges are boundaries. Bytes that are not UTF-8 make none.
entry       Compared in lower case, code point by code point (what str.lower makes longer stays as it is). One space of
            an entry stands for one to four characters of white space (ASCII's, U+00A0) or "-", and a "-" of an entry
            is such a space. An entry begins and ends at boundaries; one that ends in "*" (open) may end anywhere.
match       At each boundary from left to right the longest entry; the next match begins behind it.
distance    A match's place is the number of boundaries at which a word character begins, up to and with its own.
class       strong     counts.
            ambiguous  a word with a harmless sense. Excused when a match of class excuse is at most `window` away; else
                       in context when one of class strong or context is; else it stands alone.
            context    makes ambiguous words count that are near it; alone it counts nothing.
            excuse     takes ambiguous words near it away: the language of medicine, law, schools.
"""

import re
from collections.abc import Mapping

from fasttrain.filter.text_stats_ref import LETTER, MARK, NUMBER, SINGLE, char_class

STRONG, AMBIGUOUS, CONTEXT, EXCUSE = 1, 2, 3, 4
OPEN = 8
"""Added to the class of an entry that may end anywhere."""
GAP_MOST = 4

_OTHER, _WORD, _MARK, _UNSPACED, _KATAKANA = range(5)
_KATAKANA_RANGES = ((0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
_UNSPACED_RANGES = ((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF))


def lower(c: str) -> str:
    """Lower case of one character when that is one character."""
    low = c.lower()
    return low if len(low) == 1 else c


def is_gap(c: str) -> bool:
    """Whether a character can stand for the space of a phrase."""
    return c in " \t\n\v\f\r-\u00a0"


def normal(entry: str) -> str:
    """An entry as it is compared: lower case, gaps one space, none at the ends."""
    return re.sub(" +", " ", "".join(" " if is_gap(c) else lower(c) for c in entry)).strip(" ")


def kind(c: str) -> int:
    """What a character is for the boundaries of words."""
    code = ord(c)
    if any(a <= code <= b for a, b in _KATAKANA_RANGES):
        return _KATAKANA
    bits = char_class(c)
    if bits & MARK:
        return _MARK
    if not bits & (LETTER | NUMBER):
        return _OTHER
    return _UNSPACED if bits & SINGLE or any(a <= code <= b for a, b in _UNSPACED_RANGES) else _WORD


def _is_boundary(before: int, after: int) -> bool:
    if _OTHER in (before, after):
        return True
    return after != _MARK and (_UNSPACED in (before, after) or (before == _KATAKANA) != (after == _KATAKANA))


def boundaries(text: str) -> tuple[list[bool], list[int]]:
    """Whether a boundary lies before each character and behind the last; words begun up to and with each character."""
    bounds, words, before, count = [], [], _OTHER, 0
    for c in text:
        here = kind(c)
        bounds.append(_is_boundary(before, here))
        count += bounds[-1] and here != _OTHER
        words.append(count)
        before = here if here != _MARK else before or _WORD
    return [*bounds, True], words


def matches(data: bytes, entries: Mapping[str, int]) -> list[tuple[int, int]]:
    """(place, class) of each match, in order. `entries`: normal text -> class, with OPEN added where it is open."""
    text = data.decode("utf-8", "surrogateescape")
    bounds, words = boundaries(text)
    most = max(map(len, entries), default=0)
    found, i = [], 0
    while i < len(text):
        end = 0
        if bounds[i]:
            k, entry = i, ""
            while k < len(text) and len(entry) < most:
                if is_gap(text[k]):
                    gap = k
                    while k < len(text) and is_gap(text[k]):
                        k += 1
                    if k - gap > GAP_MOST:
                        break
                    entry += " "
                    continue
                entry += lower(text[k])
                k += 1
                here = entries.get(entry, 0)
                if here and (here & OPEN or bounds[k]):
                    end, which = k, here & ~OPEN
        if end:
            found.append((words[i], which))
        i = end or i + 1
    return found


def count(data: bytes, entries: Mapping[str, int], window: int) -> tuple[int, int, int, int]:
    """(strong, ambiguous in context, ambiguous alone, ambiguous excused)."""
    found = matches(data, entries)
    numbers = [0, 0, 0, 0]
    for at, which in found:
        near = {other for place, other in found if abs(place - at) <= window}
        if which == STRONG:
            numbers[0] += 1
        elif which == AMBIGUOUS:
            numbers[3 if EXCUSE in near else 1 if near & {STRONG, CONTEXT} else 2] += 1
    return numbers[0], numbers[1], numbers[2], numbers[3]
