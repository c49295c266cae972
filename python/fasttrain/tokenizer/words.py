"""Words as every tokenizer is asked for them: runs of letters and marks, whatever its pattern.

A pretoken would be another word for every pattern, and fertilities could not be compared; `\\p{L}+` alone cuts Hindi or
Thai at every vowel sign. Scripts without spaces (Chinese, Japanese, Thai) have phrases where others have words.
"""

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import unicode_ln

_SPACE = 0x20


def words(column: TextColumn) -> tuple[TextColumn, npt.NDArray[np.int64]]:
    """Return each maximal run of letters and marks, with the one space before it if there is one.

    Shapes: N texts, W words.
    Returns: W words, and (W,) int64: the text that each is of.
    """
    begin, end = int(column.offsets[0]), int(column.offsets[-1])
    data = column.data[begin:end]
    at = np.flatnonzero((data & 0xC0) != 0x80)  # where characters begin
    code = code_points(data, at)
    first = np.zeros(len(data) + 1, np.bool_)
    first[column.offsets[:-1] - begin] = True
    opens = first[at]  # a text's first character
    is_word = _is_word()[code]
    before = np.zeros(len(at), np.bool_)
    before[1:] = is_word[:-1]
    starts = np.flatnonzero(is_word & (~before | opens))
    after = np.ones(len(at), np.bool_)  # the character behind belongs to another run
    after[:-1] = ~is_word[1:] | opens[1:]
    ends = np.flatnonzero(is_word & after)
    bounds = np.append(at, len(data))
    has_space = ~opens[starts] & (code[np.maximum(starts - 1, 0)] == _SPACE) & (starts > 0)
    return _gather(data, at[starts] - has_space, bounds[ends + 1]), _owner(column, at[starts] + begin)


def code_points(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(K,) int64. The code point of the valid UTF-8 that begins at each place."""
    lead = data[at].astype(np.int64)
    extra = (lead >= 0xC0).astype(np.int64) + (lead >= 0xE0) + (lead >= 0xF0)
    code = np.where(extra == 0, lead, lead & (0x3F >> np.maximum(extra, 1)))
    for k in (1, 2, 3):
        follows = extra >= k
        places = np.minimum(at[follows] + k, len(data) - 1)
        code[follows] = code[follows] << 6 | (data[places] & 0x3F)
    return np.minimum(code, 0x10FFFF)


@cache
def _is_word() -> npt.NDArray[np.bool_]:
    """By code point: whether it is a letter (the pretokenizers' own table) or a mark."""
    table = np.zeros(0x110000, np.bool_)
    for low, high in unicode_ln.L:
        table[low : high + 1] = True
    marks = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))  # all there are
    table[[c for c in marks if unicodedata.category(chr(c)).startswith("M")]] = True
    return table


def _gather(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> TextColumn:
    """The byte ranges, one after another."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    shift = np.repeat(starts - offsets[:-1], ends - starts)
    return TextColumn(data[np.arange(offsets[-1]) + shift], offsets)


def _owner(column: TextColumn, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.asarray(np.searchsorted(column.offsets, places, side="right") - 1, np.int64)
