"""HTML to text (resiliparse): the main content, or, where none is found, all visible words but the menus.

Part of the worker behind extraction.py: imports nothing of fasttrain.
"""

import re
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, detect_mime

_FORM: dict[str, Any] = {
    "preserve_formatting": True, "list_bullets": True, "alt_texts": False, "links": False, "form_fields": False,
    "noscript": False,
}  # fmt: skip
_MENUS = ["nav", "header", "footer", "aside", "[role=navigation]", "[role=banner]", "[role=contentinfo]"]
_TAG = re.compile(rb"<[!a-zA-Z/?]")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def text_of(page: bytes, charset: str, max_invalid: float) -> dict[str, Any]:
    """Text of a page and how many of its characters were replaced, or the problem it has."""
    head = page[:4096]
    utf16 = page[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not utf16 and (len(_BINARY.findall(head)) > len(head) // 100 or not _TAG.search(page)):
        return {"problem": "not_html", "detail": f"looks like {detect_mime(head)}"}
    html, replaced = decode(page, charset)
    if replaced > max_invalid * len(html):
        return {"problem": "encoding", "detail": f"{replaced} of {len(html)} characters cannot be decoded"}
    text = extract_plain_text(html, main_content=True, **_FORM)
    if text.strip():
        return {"text": text.encode("utf-8", "replace"), "replaced": replaced}
    # Nothing that looks like an article (a bare list, a copyright page): all but its menus, else all.
    text = extract_plain_text(html, main_content=False, skip_elements=_MENUS, **_FORM)
    text = text if text.strip() else extract_plain_text(html, main_content=False, **_FORM)
    counts = {"html_fallback": 1} if text.strip() else {}
    return {"text": text.encode("utf-8", "replace"), "replaced": replaced, "counts": counts}


def decode(page: bytes, charset: str) -> tuple[str, int]:
    """By the HTTP header, else the page's meta tag, else detection; UTF-8 is tried before a guess."""
    best: tuple[str, int] | None = None
    for encoding in (charset, "utf-8", detect_encoding(page, from_html_meta=True)):
        if not encoding:
            continue
        try:
            text = page.decode(encoding, "replace")
        except LookupError:
            continue
        replaced = text.count("\ufffd")
        if not replaced:
            return text.removeprefix("\ufeff"), 0
        if best is None or replaced < best[1]:
            best = text, replaced
    assert best is not None  # utf-8 was tried
    return best[0].removeprefix("\ufeff"), best[1]
