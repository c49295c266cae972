"""Text for the tokenizer's benchmarks: installed Python sources, and a vocabulary trained on others of them."""

import sysconfig
from functools import cache
from pathlib import Path


@cache
def documents(total_bytes: int, skip: int = 0) -> tuple[str, ...]:
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


def num_bytes(texts: tuple[str, ...]) -> int:
    return sum(len(t.encode()) for t in texts)
