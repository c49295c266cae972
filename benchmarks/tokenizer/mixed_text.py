"""Text as a base model sees it: python mixed_text.py BYTES END > FILE, each document followed by END.

From the fetched lake (tools/fetch_lake.py; FASTTRAIN_LAKE names its folder): English prose, code, European languages
and other scripts in these shares; documents in the order of their names.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import zstandard

LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))
SHARE = {"english": 0.32, "code": 0.28, "european": 0.20, "other scripts": 0.20}
_OTHER_SCRIPTS = {
    "as",
    "el",
    "fa",
    "gu",
    "he",
    "hi",
    "ja",
    "kn",
    "ko",
    "mr",
    "pa",
    "ru",
    "sr",
    "ta",
    "te",
    "uk",
    "zh_CN",
}


def _files(*folders: str, suffix: str) -> Iterator[str]:
    """Texts of the folders' files, one of each folder in turn."""
    listed = [sorted((LAKE / f).rglob(f"*{suffix}")) for f in folders]
    for path in itertools.chain(*itertools.zip_longest(*listed)):
        if path is not None and path.is_file():
            yield path.read_text(encoding="utf-8", errors="ignore").replace("\0", "")[:200_000]


def _records(*paths: Path) -> Iterator[str]:
    for path in paths:
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]


def _help(*, other_scripts: bool) -> list[Path]:
    return [p for p in sorted((LAKE / "gnome-help").glob("*.zst"))
            if (p.name.split(".")[0] in _OTHER_SCRIPTS) == other_scripts and p.name[0] != "C"]  # fmt: skip


def _is_latin(text: str) -> bool:
    letters = [c for c in text[:2000] if c.isalpha()]
    return sum(ord(c) < 0x250 for c in letters) * 2 > len(letters)


def _sources() -> dict[str, Iterator[str]]:
    udhr = list(_records(LAKE / "udhr" / "udhr.jsonl.zst"))
    return {
        "english": _files("speeches", "books/austen", "books/shakespeare", "docs/django-5.2", suffix=".txt"),
        "code": _files("code/go/src", "code/rust/library", "code/django-5.2", suffix=""),
        "european": itertools.chain(filter(_is_latin, udhr), _records(*_help(other_scripts=False))),
        "other scripts": itertools.chain((t for t in udhr if not _is_latin(t)), _records(*_help(other_scripts=True))),
    }


def documents(total_bytes: int) -> Iterator[str]:
    """About `total_bytes` of documents; a part that the lake cannot fill is filled with English."""
    missing = 0.0
    sources = _sources()
    for name in ("other scripts", "european", "code", "english"):
        left = total_bytes * SHARE[name] + (missing if name == "english" else 0.0)
        for text in sources[name]:
            if left <= 0:
                break
            left -= len(text.encode())
            yield text
        missing += max(left, 0.0) if name != "english" else 0.0


if __name__ == "__main__":
    total, end = int(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode()
    for document in documents(total):
        sys.stdout.buffer.write(document.encode() + end)
