"""Files that are there whole or not at all: write beside, sync, rename, sync the folder."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fasttrain.core.errors import FormatError


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it is synced and takes `path`'s place.

    `durable=False`: not synced. A killed process leaves it whole all the same, a power cut may leave it cut off.
    When the block fails, the temporary is removed and `path` is as it was. A full disk raises FormatError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise FormatError(
                f"{path}: cannot be written: {error.strerror}; free space and start again, finished work is kept"
            ) from error
        raise


def sync(path: Path) -> None:
    """Return when the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Return when the folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write the file whole or not at all."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, data: Any, *, durable: bool = True) -> None:
    """Write readable JSON, keys in the order given, whole or not at all."""
    write_bytes(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode(), durable=durable)


def read_json(path: Path) -> Any:
    """Read JSON. Raises FormatError when the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except ValueError as error:
        raise FormatError(f"{path}: not valid JSON ({error}); remove it and run the stage again") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
