"""PDF to text (PDFium through pypdfium2, the extra `pdf`): the pages' lines, without what runs through all of them.

A line that stands at the top or the bottom of most pages, digits apart, is a running header, footer or page number; of
a book's left and right pages each side may have its own. Words cut at a line's end are put together. PDFium gives text
in the order in which the file draws it, line by line; a page without a text layer (a scan) gives none.

Part of the worker behind extraction.py: imports nothing of fasttrain. What in the file is damaged, PDFium repairs as
far as it can; pages that it cannot load are counted.
"""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pypdfium2 as pdfium

_PASSWORD = 4  # FPDF_ERR_PASSWORD
_HEAD = 1024  # where the mark may stand (PDF 1.7, implementation note 13)
_EDGE = 3  # deepest header or footer, in lines
_MIN_PAGES = 3  # fewer equal lines prove nothing
_CUT = "\x02"  # what PDFium writes for a hyphen at a line's end, the break behind it left out
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\ufffe\uffff]")
_SPLIT = re.compile(r"(\w+)-\n([^\W\d_]\w*)")
_ROMAN = re.compile(r"[ivxlcdm]+")
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)


def text_of(raw: bytes, max_bytes: int, max_invalid: float) -> dict[str, Any]:
    """Text of a PDF with its number of pages and title, or the problem it has."""
    if b"%PDF-" not in raw[:_HEAD]:
        return {"problem": "not_pdf", "detail": "does not begin with %PDF-"}
    try:
        document = pdfium.PdfDocument(raw)
    except pdfium.PdfiumError as error:
        # Where this file fails without a code, the code is that of an earlier file (seen with 5.15): look for the key.
        if error.err_code == _PASSWORD and b"/Encrypt" in raw:
            return {"problem": "encrypted", "detail": "needs a password"}
        return {"problem": "corrupt", "detail": "PDFium cannot load it"}
    with closing(document):
        return _read(document, max_bytes, max_invalid)


def _read(document: Any, max_bytes: int, max_invalid: float) -> dict[str, Any]:
    pages: list[list[str]] = []
    size = lost = replaced = 0
    for number in range(len(document)):
        try:
            text = _page(document, number)
        except pdfium.PdfiumError:
            lost += 1
            continue
        size += len(text)  # characters: at most the bytes
        if size > max_bytes:
            return {"problem": "too_large", "detail": f"page {number + 1} of {len(document)}"}
        replaced += text.count("\0") + text.count("\ufffd")
        text = _CONTROL.sub("", text.translate(_LIGATURES))
        pages.append([line.strip() for line in text.split("\n") if line.strip()])
    if lost == len(document):
        return {"problem": "corrupt", "detail": "no page can be loaded"}
    if replaced > max_invalid * size:
        return {"problem": "encoding", "detail": f"{replaced} of {size} characters have no Unicode"}
    if not any(pages):
        return {"problem": "image_only", "detail": f"no text on {len(document)} pages"}
    meta: dict[str, Any] = {"pages": len(document)}
    if title := _title(document):
        meta["title"] = title
    return {
        "text": joined(without_running_lines(pages)).encode("utf-8", "replace"),
        "replaced": replaced,
        "counts": {"unreadable_pdf_pages": lost} if lost else {},
        "meta": meta,
    }


def _page(document: Any, number: int) -> str:
    with closing(document[number]) as page, closing(page.get_textpage()) as text:
        found: str = text.get_text_bounded(errors="replace")  # get_text_range knows no character beyond U+FFFF
    # Lines as they were: the one behind the hyphen may be a page number.
    return found.replace("\r\n", "\n").replace("\r", "\n").replace(_CUT, "-\n")


def _title(document: Any) -> str:
    try:
        found: str = document.get_metadata_value("Title")
    except UnicodeDecodeError:  # half a surrogate pair (found by fuzzing)
        return ""
    return " ".join(_CONTROL.sub("", found).split())[:1000].encode("utf-8", "replace").decode()


def without_running_lines(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """The pages' lines without headers, footers, page numbers; the first page keeps such words, which may be its title.

    All stays when they would be a third of the text: pages that are alike as a whole (forms, tables) have no header.
    """
    left = [list(page) for page in pages]
    for edge in (0, -1):
        for _ in range(_EDGE):
            keys = [_key(page[edge]) if page else "" for page in left]
            running = _running(keys) | _running(keys[::2]) | _running(keys[1::2])
            if not running:
                break
            for number, (page, key) in enumerate(zip(left, keys)):
                if key in running and (number or "0" in key):
                    page.pop(edge)
    return left if 3 * _size(left) >= 2 * _size(pages) else [list(page) for page in pages]


def _size(pages: Sequence[Sequence[str]]) -> int:
    return sum(len(line) for page in pages for line in page)


def _running(keys: Sequence[str]) -> set[str]:
    """Lines on more than half of the pages that have any."""
    stated = Counter(key for key in keys if key)
    return {key for key, count in stated.items() if count >= _MIN_PAGES and 2 * count > stated.total()}


def _key(line: str) -> str:
    flat = re.sub(r"\d+", "0", " ".join(line.casefold().split()))
    return "0" if _ROMAN.fullmatch(flat) else flat


def joined(pages: Sequence[Sequence[str]]) -> str:
    """Pages as one text: an empty line between them unless a sentence goes on; words cut at a line's end made whole."""
    text = ""
    for page in pages:
        if not page:
            continue
        goes_on = page[0][0].islower() and text[-1:] not in tuple('.!?:;"”’)')
        text += ("\n" if goes_on else "\n\n") + "\n".join(page) if text else "\n".join(page)
    compounds = {word.casefold() for word in re.findall(r"\w+-\w+", text)}

    def whole(cut: re.Match[str]) -> str:
        left, right = cut[1], cut[2]
        is_split = right[0].islower() and left[-1].isalpha() and f"{left}-{right}".casefold() not in compounds
        return left + right if is_split else f"{left}-{right}"

    return _SPLIT.sub(whole, text)
