"""Pretokenization in plain Python, character by character: the definition that the native scanners must equal."""

from functools import cache

from fasttrain.tokenizer import unicode_ln


@cache
def _classes() -> dict[int, str]:
    return {c: name for name in "LNS" for first, last in getattr(unicode_ln, name) for c in range(first, last + 1)}


def _class(c: str) -> str:
    return _classes().get(ord(c), "O")


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


def _next(text: str, i: int, pattern: str) -> int:
    """End of the piece that starts at i."""
    if text[i] == "'" and (length := _contraction(text, i, pattern != "gpt2")):
        return i + length
    here = _class(text[i])
    follow = _class(text[i + 1]) if i + 1 < len(text) else ""
    if pattern == "gpt2":
        start = i + 1 if text[i] == " " and follow not in ("", "S") else i
        kind = _class(text[start])
        return _space(text, i, pattern) if kind == "S" else _run(text, start, kind)
    if here == "L" or (here != "N" and text[i] not in "\r\n" and follow == "L"):
        return _run(text, i + (here != "L"), "L")
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
    result, i = [], 0
    while i < len(text):
        end = _next(text, i, pattern)
        result.append(text[i:end].encode("utf-8", "surrogateescape"))
        i = end
    return result
