"""Text for the tokenizer's benchmarks: installed Python sources."""

import sysconfig
from functools import cache
from pathlib import Path

import pytest


@cache
def _documents(total_bytes: int, skip: int = 0) -> tuple[str, ...]:
    """Python source files, in name order, every file's first 100 kB."""
    found: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))[skip::3]:
        text = path.read_text(encoding="utf-8", errors="ignore")[:100_000]
        found.append(text)
        size += len(text.encode())
        if size >= total_bytes:
            break
    return tuple(found)


@pytest.fixture
def documents():
    """documents(total_bytes, skip=0): about so many bytes of sources, every third file from `skip` on."""
    return _documents


@pytest.fixture
def speed(record):
    """speed(texts): record MB/s of the benchmark's best round."""
    return lambda texts: record("MB_per_s", sum(len(t.encode()) for t in texts) / 1e6)
