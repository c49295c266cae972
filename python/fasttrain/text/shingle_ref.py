"""Normalised words and their hashed n-grams in plain Python: the definition that every implementation equals.

1. Decode UTF-8; a malformed sequence separates words.
2. Fold each code point by itself (fold_tables, so that no interpreter's Unicode version changes a hash): lower case,
   final sigma as sigma, canonical decomposition, marks (Mn) and format characters (Cf) dropped.
3. Separators are punctuation (P), symbols (S), spaces (Z), controls (Cc). What is left between them are words.
4. A run of decimal digits (Nd) of any length is one "0", inside words too.
5. A letter of a script written without spaces (Han, Kana, Bopomofo, Yi, Thai, Lao, Khmer, Myanmar, ...) is a word.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from fasttrain.text import fold_tables
from fasttrain.text.columns import TextColumn

LETTER, BREAK, DROP, DIGIT, IDEOGRAPH, HANGUL = range(6)
NGRAM_BASE = 0xD6E8FEB86659FD93
_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@cache
def _tables() -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    ranges, changes = fold_tables.unpack()
    kinds = np.zeros(0x110000, np.uint8)
    for first, last, kind in ranges:
        kinds[first : last + 1] = kind
    return kinds, {cp: "".join(map(chr, becomes)) for cp, becomes in changes.items()}


def fold(c: str) -> tuple[int, str]:
    """Kind of one code point and what it becomes."""
    kinds, changes = _tables()
    cp = ord(c)
    kind = int(kinds[cp])
    if kind == HANGUL:  # Unicode 3.12
        s = cp - 0xAC00
        tail = chr(0x11A7 + s % 28) if s % 28 else ""
        return LETTER, chr(0x1100 + s // 588) + chr(0x1161 + s % 588 // 28) + tail
    return kind, changes.get(cp, c)


def words_and_spans(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The normalised words and where each lies in the text, in code points [begin, end)."""
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    word, begin, digit, end = "", 0, False, 0

    def finish() -> None:
        nonlocal word
        if word:
            words.append(word)
            spans.append((begin, end))
        word = ""

    for i, c in enumerate(text):
        kind, becomes = fold(c)
        if kind == DROP:
            continue
        if kind in (BREAK, IDEOGRAPH):
            finish()
        if kind == IDEOGRAPH:
            words.append(becomes)
            spans.append((i, i + 1))
        elif kind != BREAK and not (kind == DIGIT and digit):
            begin = begin if word else i
            word += "0" if kind == DIGIT else becomes
        digit = kind == DIGIT
        end = i + 1
    finish()
    return words, spans


def words(text: bytes) -> list[str]:
    """The normalised words of UTF-8 text."""
    return words_and_spans(text.decode("utf-8", "replace"))[0]


def word_hash(word: str) -> int:
    """64-bit hash of a normalised word."""
    raw = word.encode("utf-8", "surrogatepass")
    h = len(raw) * _K0 & _MASK
    for i in range(0, len(raw), 8):
        h = (h ^ int.from_bytes(raw[i : i + 8], "little")) * _K1 & _MASK
        h ^= h >> 32
    h = h * _K2 & _MASK
    return h ^ h >> 29


def mix64(k: int) -> int:
    """MurmurHash3's 64-bit finaliser."""
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & _MASK
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return k ^ k >> 33


def ngram_hash(words: list[str]) -> int:
    """64-bit hash of consecutive words."""
    total = 0
    for word in words:
        total = (total * NGRAM_BASE + word_hash(word)) & _MASK
    return mix64(total)


def shingles(words: list[str], n: int) -> list[int]:
    """Hashes of a text's word n-grams, in order; of all its words when they are fewer than n."""
    if len(words) < n:
        return [ngram_hash(words)] if words else []
    return [ngram_hash(words[i : i + n]) for i in range(len(words) - n + 1)]


def shingle(
    column: TextColumn, n: int, sets: bool, out: npt.NDArray[np.uint64], out_offsets: npt.NDArray[np.int64]
) -> None:
    out_offsets[0] = 0
    for d in range(len(column)):
        grams = shingles(words(column[d]), n)
        if sets:
            grams = sorted(set(grams))
        out_offsets[d + 1] = out_offsets[d] + len(grams)
        out[out_offsets[d] : out_offsets[d + 1]] = np.array(grams, np.uint64)
