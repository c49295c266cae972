"""Choose inputs that libFuzzer merged for the corpus in the repository: the smallest, up to LIMIT bytes an op."""

import hashlib
import sys
from pathlib import Path

LIMIT, FILES = 12_000, 150


def keep(chosen: Path, kept: Path) -> None:
    """Put files of `chosen` into `kept` under the names of their hashes; files with names of their own stay."""
    for path in kept.iterdir():
        if len(path.name) == 40:
            path.unlink()
    total = sum(path.stat().st_size for path in kept.iterdir())
    files = sorted((path.read_bytes() for path in chosen.iterdir()), key=lambda data: (len(data), data))
    for data in files[:FILES]:
        total += len(data)
        if total > LIMIT:
            break
        (kept / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
