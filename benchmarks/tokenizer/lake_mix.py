"""Text of four kinds from the fetched lake (FASTTRAIN_LAKE, tools/fetch_lake.py), no document twice.

english: encyclopedia, books, documentation, web pages as they came. code: Rust, Go and Python sources. european and
nonlatin: the help pages of GNOME and the declaration of human rights by language. The lake has less of the last two
than of the others; a kind that ends early is shorter.
"""

import gzip
import io
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import zstandard

LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))
KINDS = ("english", "code", "european", "nonlatin")
_MAX_DOCUMENT = 100_000  # characters; longer ones are cut there
_NONLATIN = {"ar", "as", "bg", "bn", "el", "fa", "gu", "he", "hi", "ja", "kn", "ko", "ml", "mr", "ne", "or", "pa", "ru"}
_NONLATIN |= {"sr", "ta", "te", "th", "uk", "zh_CN", "zh_HK", "zh_TW"}


def is_here() -> bool:
    """FASTTRAIN_LAKE names a fetched lake."""
    return (LAKE / "gnome-help").is_dir()


def _jsonl(path: Path) -> Iterator[str]:
    with zstandard.ZstdDecompressor().stream_reader(path.open("rb")) as raw:
        for line in io.TextIOWrapper(raw, "utf-8"):
            yield json.loads(line)["text"]


def _files(folder: str, *patterns: str) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted((LAKE / folder).rglob(pattern)):
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="ignore")


def _pages() -> Iterator[str]:
    """The web folder's archives, split at their record heads."""
    for path in sorted((LAKE / "web").glob("*.warc.gz")):
        with gzip.open(path, "rb") as file:
            for record in file.read().split(b"WARC/1.0\r\n")[1:]:
                yield record.decode("utf-8", "ignore")


def _documents(kind: str) -> Iterator[str]:
    if kind == "english":
        for path in sorted((LAKE / "encyclopedia").glob("*.zst")) + sorted((LAKE / "foldoc").glob("*.zst")):
            yield from _jsonl(path)
        yield from _files("books", "*.txt", "*.html")
        yield from _files("docs", "*.txt", "*.html", "*.rst")
        yield from _files("speeches", "*.txt")
        yield from _pages()
    elif kind == "code":
        kinds = [_files("code/rust", "*.rs"), _files("code/go", "*.go"), _files("code/django-5.2", "*.py")]
        while kinds:  # in turn, so that each part of the mix has all three
            for source in list(kinds):
                text = next(source, None)
                if text is None:
                    kinds.remove(source)
                else:
                    yield text
    else:
        for path in sorted((LAKE / "gnome-help").glob("*.zst")):
            language = path.name.split(".")[0]
            if language != "C" and (language in _NONLATIN) == (kind == "nonlatin"):
                yield from _jsonl(path)
        for path in sorted((LAKE / "udhr").glob("*.zst")):
            for text in _jsonl(path):
                is_latin = sum(c < "\u0370" for c in text[:2000]) > 0.8 * len(text[:2000])
                if is_latin == (kind == "european"):
                    yield text


@cache
def documents(kind: str, total_bytes: int, skip_bytes: int = 0) -> tuple[str, ...]:
    """About so many bytes of a kind, after the first `skip_bytes`; fewer where the lake ends."""
    found: list[str] = []
    size = 0
    seen: set[int] = set()
    for text in _documents(kind):
        text = text[:_MAX_DOCUMENT]
        if not text or hash(text) in seen:
            continue
        seen.add(hash(text))
        if size >= skip_bytes:
            found.append(text)
        size += len(text.encode())
        if size >= skip_bytes + total_bytes:
            break
    return tuple(found)


def mix(total_bytes: int) -> tuple[str, ...]:
    """All kinds: european and nonlatin whole, English and code in equal parts up to `total_bytes`; documents spread."""
    rest = [documents(kind, total_bytes) for kind in ("european", "nonlatin")]
    have = sum(len(t.encode()) for texts in rest for t in texts)
    parts = [documents(kind, max(0, total_bytes - have) // 2) for kind in ("english", "code")] + rest
    keyed = sorted(((i + 0.5) / len(part), k, t) for k, part in enumerate(parts) for i, t in enumerate(part))
    return tuple(t for _, _, t in keyed)
