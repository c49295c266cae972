"""The statistics of every quality rule, in plain Python: the definition that the native op must equal bit for bit.

DEFINITIONS.md says in words what is counted and where published implementations differ.
"""

import re
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from fasttrain.filter.line_edit_ref import (
    C4_REASONS,
    REFINEDWEB_REASONS,
    C4Rules,
    RefinedWebRules,
    c4_line,
    edit_text,
    refinedweb_line,
)
from fasttrain.text.columns import TextColumn

LETTER, NUMBER, MARK, SPACE, SYMBOL, TERMINAL, SINGLE, BREAK, UPPER = (1 << i for i in range(9))

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
# datatrove 0.10.1, utils/text.py (Apache-2.0).
TERMINAL_SET = frozenset(
    ".?!։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡"
    "\U00010a56\U00010a57\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89"
    "\U00011047\U00011048\U000110be\U000110bf\U000110c0\U000110c1\U00011141\U00011142\U00011143\U000111c5\U000111c6"
    "\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U0001144b\U0001144c\U000115c2"
    "\U000115c3\U000115c9\U000115ca\U000115cb\U000115cc\U000115cd\U000115ce\U000115cf\U000115d0\U000115d1\U000115d2"
    "\U000115d3\U000115d4\U000115d5\U000115d6\U000115d7\U00011641\U00011642\U0001173c\U0001173d\U0001173e\U00011944"
    "\U00011946\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43\U00011f44"
    "\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f\U0001da88"
)
SYMBOL_SET = TERMINAL_SET.union(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»",
    map(chr, [*range(9), 11, 12, *range(13, 32), *range(127, 160)]),
)
_BREAKS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_JOINERS = frozenset("_\u00ad\u200c\u200d")
# Blocks of scripts written without spaces and segmented by character here: kana, Han and its extensions.
_SINGLE_RANGES = ((0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
                  (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFD))  # fmt: skip


@cache
def char_class(c: str) -> int:
    """The class bits of one character."""
    category = unicodedata.category(c)
    bits = LETTER if c.isalpha() else 0
    bits |= NUMBER if category[0] == "N" else 0
    bits |= MARK if category[0] == "M" or c in _JOINERS else 0
    bits |= SPACE if c.isspace() else 0
    bits |= SYMBOL if c in SYMBOL_SET else 0
    bits |= TERMINAL if c in TERMINAL_SET else 0
    bits |= SINGLE if c.isalpha() and any(a <= ord(c) <= b for a, b in _SINGLE_RANGES) else 0
    bits |= UPPER if c.isalpha() and c.isupper() else 0
    return bits | (BREAK if c in _BREAKS else 0)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Our segmentation: runs of letters, numbers and marks are words, each kana or Han character is one, and each run
    of one and the same other visible character is one ("...", "--", "#").

    "'", "’" and "." between two such characters (not kana or Han), and "," between two ASCII digits, join.
    """
    kind = [char_class(c) for c in text]
    inside = [bool(k & (LETTER | NUMBER | MARK)) for k in kind]
    plain = [i and not k & SINGLE for i, k in zip(inside, kind)]
    joined = list(inside)
    for i in range(1, len(text) - 1):
        if text[i] in "'’." and plain[i - 1] and plain[i + 1]:
            joined[i] = True
        if text[i] == "," and text[i - 1] in "0123456789" and text[i + 1] in "0123456789":
            joined[i] = True
    result: list[tuple[int, int]] = []
    open_word = False  # the last word may still grow
    for i, c in enumerate(text):
        if kind[i] & SPACE:
            open_word = False
            continue
        if joined[i]:
            grows = open_word and joined[i - 1] and not (kind[i] | kind[i - 1]) & SINGLE
        else:
            grows = open_word and text[i - 1] == c and not joined[i - 1]
        if grows:
            result[-1] = (result[-1][0], i + 1)
        else:
            result.append((i, i + 1))
        open_word = True
    return result


def words(text: str) -> list[str]:
    """The words of `word_spans`."""
    return [text[a:b] for a, b in word_spans(text)]


def _duplicates(parts: list[str]) -> tuple[int, int]:
    """Repeated elements and their characters; the first occurrence does not count."""
    seen: set[str] = set()
    count = chars = 0
    for part in parts:
        if part in seen:
            count, chars = count + 1, chars + len(part)
        seen.add(part)
    return count, chars


def _top_gram_chars(tokens: list[str], n: int) -> int:
    """Characters (words joined by one space) times occurrences of the most frequent n-gram; the first one on a tie."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    counts: dict[tuple[str, ...], int] = {}
    for gram in grams:
        counts[gram] = counts.get(gram, 0) + 1
    if not counts:
        return 0
    top = max(counts, key=lambda g: counts[g])
    return (sum(map(len, top)) + n - 1) * counts[top]


def _duplicate_gram_chars(tokens: list[str], n: int) -> int:
    """Characters of n-grams seen before, without overlap: after a hit the scan goes on behind it."""
    seen: set[tuple[str, ...]] = set()
    chars = i = 0
    while i <= len(tokens) - n:
        gram = tuple(tokens[i : i + n])
        if gram in seen:
            chars, i = chars + sum(map(len, gram)), i + n
        else:
            seen.add(gram)
            i += 1
    return chars


def _split_runs(text: str, at_least: int) -> list[str]:
    """re.split("\\n{at_least,}", text)."""
    return re.split(f"\n{{{at_least},}}", text)


def _fineweb(text: str, num_words: int, short_line_chars: int) -> dict[str, int]:
    """What FineWeb's rules read."""
    full = [line for line in text.split("\n") if line.strip()]
    return {
        "chars": len(text),
        "newlines": text.count("\n"),
        "words": num_words,
        "full_lines": len(full),
        "punct_lines": sum(line[-1] in TERMINAL_SET for line in full),
        "short_lines": sum(len(line) <= short_line_chars for line in full),
        "full_dup_chars": _duplicates(full)[1],
    }


def _refinedweb(text: str, rules: RefinedWebRules) -> dict[str, int]:
    """Lines by the rule that refuses or cuts them, and text words that begin in what would go."""
    found = dict.fromkeys(REFINEDWEB_REASONS, 0)
    gone: set[int] = set()
    at = 0
    for raw in text.splitlines(keepends=True):
        line = raw.strip()
        begin = at + len(raw) - len(raw.lstrip())
        fate = refinedweb_line(line, rules)
        if fate.reason or fate.cuts:
            found[fate.reason or "phrase"] += 1
            for a, b in [(0, len(line))] if fate.reason else fate.cuts:
                gone |= set(range(begin + a, begin + b))
        at += len(raw)
    result = {f"rw_{reason}_lines": count for reason, count in found.items()}
    spans = word_spans(text) if gone else []
    result["rw_removed_words"] = sum(a in gone and any(c not in SYMBOL_SET for c in text[a:b]) for a, b in spans)
    return result


def document(
    text: str, c4: C4Rules, refinedweb: RefinedWebRules, short_line_chars: int, edit: int = 0
) -> dict[str, int]:
    """All statistics of one text, by name, in the order of text_stats.NAMES."""
    kind = [char_class(c) for c in text]
    tokens = words(text)
    prose = [w for w in tokens if any(c not in SYMBOL_SET for c in w)]
    lines = text.splitlines()
    paragraphs = _duplicates(_split_runs(text.strip(), 2)) if text else (0, 0)
    runs = _split_runs(text, 1) if text else []
    result = {
        "bytes": len(text.encode()),
        "chars": len(text),
        "letters": sum(bool(k & LETTER) for k in kind),
        "numbers": sum(bool(k & NUMBER) for k in kind),
        "spaces": sum(bool(k & SPACE) for k in kind),
        "newlines": text.count("\n"),
        "words": len(tokens),
        "text_words": len(prose),
        "text_word_chars": sum(map(len, prose)),
        "alpha_words": sum(any(c.isalpha() for c in w) for w in tokens),
        "stop_words": len(set(STOP_WORDS) & set(tokens)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "paragraphs": len(_split_runs(text.strip(), 2)) if text else 0,
        "dup_paragraphs": paragraphs[0],
        "dup_paragraph_chars": paragraphs[1],
        "repetition_lines": len(runs),
        "dup_lines": _duplicates(runs)[0],
        "dup_line_chars": _duplicates(runs)[1],
        **{f"top_{n}_gram_chars": _top_gram_chars(tokens, n) for n in (2, 3, 4)},
        **{f"dup_{n}_gram_chars": _duplicate_gram_chars(tokens, n) for n in range(5, 11)},
    }
    fates = [c4_line(line.strip(), c4) for line in lines]
    result["c4_kept_lines"] = sum(f.reason == "" for f in fates)
    result["c4_sentences"] = sum(f.sentences for f in fates)
    for reason in C4_REASONS:
        result[f"c4_{reason}_lines"] = sum(f.reason == reason for f in fates)
    result |= _refinedweb(text, refinedweb)
    left, result["removed_lines"] = edit_text(text, edit, c4, refinedweb)
    found = _fineweb(left, len(words(left)), short_line_chars)
    return result | {f"left_{name}": count for name, count in found.items()}


def text_stats(
    column: TextColumn,
    c4: C4Rules,
    refinedweb: RefinedWebRules,
    short_line_chars: int,
    edit: npt.NDArray[np.uint8],
    out: npt.NDArray[np.int64],
) -> None:
    for n in range(len(column)):
        try:
            text = column[n].decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"text_stats: text {n} must be valid UTF-8, got a bad byte at {error.start}; "
                "decode it with errors='replace' first"
            ) from None
        out[n] = list(document(text, c4, refinedweb, short_line_chars, int(edit[n])).values())
