"""Pretokenization in plain Python, character by character: the definition that the native scanners must equal."""

from collections.abc import Callable
from functools import cache

from fasttrain.tokenizer import unicode_ln

_CASED = ("o200k", "tekken")
_SUPERWORDS = "_superwords"


@cache
def _classes() -> dict[int, str]:
    return {c: name for name in "LNS" for first, last in getattr(unicode_ln, name) for c in range(first, last + 1)}


@cache
def _kinds() -> dict[int, str]:
    """Code point -> UPPER (Lu, Lt), LOWER (Ll), MARK (M) or PUNCT (P, S)."""
    names = ("UPPER", "LOWER", "MARK", "PUNCT")
    return {c: name for name in names for first, last in getattr(unicode_ln, name) for c in range(first, last + 1)}


def _class(c: str) -> str:
    return _classes().get(ord(c), "O")


def _kind(c: str) -> str:
    return _kinds().get(ord(c), "")


def _run(text: str, i: int, wanted: str) -> int:
    while i < len(text) and _class(text[i]) == wanted:
        i += 1
    return i


def _contraction(text: str, i: int, any_case: bool) -> int:
    """Length of an apostrophe and s, d, m, t, ll, ve or re at i; 0 when there is none."""
    follow = text[i + 1 : i + 3]
    if any_case:  # U+017F, the long s, folds to s
        follow = "".join("s" if c == "\u017f" else c.lower() if c.isascii() else c for c in follow)
    if follow[:1] in ("s", "d", "m", "t") and follow:
        return 2
    return 3 if follow in ("ll", "ve", "re") else 0


def _space(text: str, i: int, pattern: str) -> int:
    end = _run(text, i, "S")
    if end == len(text) and pattern in ("cl100k", "gpt2"):
        return end
    newline = max(text.rfind("\n", i, end), text.rfind("\r", i, end))
    if newline >= 0 and pattern != "gpt2":
        return newline + 1
    return end if end == len(text) or end - i == 1 else end - 1


def _span(text: str, i: int, holds: Callable[[str], bool]) -> int:
    while i < len(text) and holds(text[i]):
        i += 1
    return i


def _first(c: str) -> bool:
    """[Lu Lt Lm Lo M]"""
    return _kind(c) == "MARK" or (_class(c) == "L" and _kind(c) != "LOWER")


def _rest(c: str) -> bool:
    """[Ll Lm Lo M]"""
    return _kind(c) == "MARK" or (_class(c) == "L" and _kind(c) != "UPPER")


def _cased_word(text: str, i: int) -> int:
    """End of the word with its contraction that o200k matches at i; i when there is none. Tries what the expression
    tries, in its order: both kinds of words, the longest first set that leaves the second one something."""
    for is_lower in (True, False):
        for start in (i + 1, i) if _class(text[i]) not in "LN" and text[i] not in "\r\n" else (i,):
            most = _span(text, start, _first)
            if not is_lower:
                if most > start:
                    return _span(text, most, _rest)
                continue
            for cut in range(most, start - 1, -1):
                if (end := _span(text, cut, _rest)) > cut:
                    return end
    return i


def _next_cased(text: str, i: int, pattern: str) -> int:
    end = _cased_word(text, i)
    if end > i:
        return end + (_contraction(text, end, True) if pattern == "o200k" and text[end : end + 1] == "'" else 0)
    if _class(text[i]) == "N":
        return min(_run(text, i, "N"), i + (1 if pattern == "tekken" else 3))
    start = i + (text[i] == " ")
    if (end := _run(text, start, "O")) > start:
        return _span(text, end, lambda c: c in "\r\n/")
    return _space(text, i, pattern)


def _is_cjk(c: str) -> bool:
    return "\u4e00" <= c <= "\u9fa5" or "\u3040" <= c <= "\u30ff"


def _deepseek_third(text: str) -> list[str]:
    """What the third expression of deepseek_v3 makes of one of the first two's pieces."""
    result: list[str] = []
    start = i = 0
    while i < len(text):
        end = _deepseek_match(text, i)
        if end > i:
            result += [text[start:i], text[i:end]]
            start = end
        i = max(end, i + 1)
    return [piece for piece in (*result, text[start:]) if piece]


def _deepseek_match(text: str, i: int) -> int:
    """End of the third expression's match at i; i when there is none."""

    def is_word(c: str) -> bool:
        return _class(c) == "L" or _kind(c) == "MARK"

    def is_sign(c: str) -> bool:
        return _kind(c) == "PUNCT"

    if text[i].isascii() and is_sign(text[i]):
        end = _span(text, i + 1, lambda c: c.isascii() and c.isalpha())
        if end > i + 1:
            return end
    for start in (i + 1, i) if not (_class(text[i]) == "L" or is_sign(text[i]) or text[i] in "\r\n") else (i,):
        if (end := _span(text, start, is_word)) > start:
            return end
    start = i + (text[i] == " ")
    if (end := _span(text, start, is_sign)) > start:
        return _span(text, end, lambda c: c in "\r\n")
    return _space(text, i, "deepseek_v3") if _class(text[i]) == "S" else i


def _deepseek(text: str) -> list[str]:
    """Three cuts, one after another: numbers by threes, runs of CJK, and each piece of those by the third."""
    result: list[str] = []
    i = 0
    while i < len(text):
        if (end := min(_run(text, i, "N"), i + 3)) == i and (end := _span(text, i, _is_cjk)) == i:
            end = _span(text, i, lambda c: _class(c) != "N" and not _is_cjk(c))
        result += _deepseek_third(text[i:end])
        i = end
    return result


def _next(text: str, i: int, pattern: str) -> int:
    """End of the piece that starts at i."""
    joins_words, pattern = pattern.endswith(_SUPERWORDS), pattern.removesuffix(_SUPERWORDS)
    if pattern in _CASED:
        return _next_cased(text, i, pattern)
    if text[i] == "'" and (length := _contraction(text, i, pattern != "gpt2")):
        return i + length
    here = _class(text[i])
    follow = _class(text[i + 1]) if i + 1 < len(text) else ""
    if pattern == "gpt2":
        start = i + 1 if text[i] == " " and follow not in ("", "S") else i
        kind = _class(text[start])
        return _space(text, i, pattern) if kind == "S" else _run(text, start, kind)
    if here == "L" or (here != "N" and text[i] not in "\r\n" and follow == "L"):
        end = _run(text, i + (here != "L"), "L")
        while joins_words and text[end : end + 1] == " " and _run(text, end + 1, "L") > end + 1:
            end = _run(text, end + 1, "L")
        return end
    if here == "N":
        return min(_run(text, i, "N"), i + (1 if pattern == "qwen2" else 3))
    if here == "O" or (text[i] == " " and follow == "O"):
        end = _run(text, i + (here != "O"), "O")
        while end < len(text) and text[end] in "\r\n":
            end += 1
        return end
    return _space(text, i, pattern)


def pieces(data: bytes, pattern: str) -> list[bytes]:
    """Cut one text. Bytes that are no valid UTF-8 become lone surrogates, each a symbol of its own."""
    text = data.decode("utf-8", "surrogateescape")
    if pattern == "deepseek_v3":
        return [piece.encode("utf-8", "surrogateescape") for piece in _deepseek(text)]
    result, i = [], 0
    while i < len(text):
        end = _next(text, i, pattern)
        result.append(text[i:end].encode("utf-8", "surrogateescape"))
        i = end
    return result
