"""Files behind a URI (`s3://`, `gs://`, `hdfs://`, `file://`), listed and streamed through pyarrow's file systems."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pyarrow import fs

from fasttrain.core.errors import ConfigError

READ_BYTES = 4 << 20
"""One request to the store asks for so much: the decoders' reads of 32 KiB would each be a round trip."""


@dataclass(frozen=True)
class RemotePath:
    """A file in a store: what the readers need of a Path."""

    uri: str
    path: str  # in the file system
    size: int
    mtime_ns: int
    filesystem: Any = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Last component."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """Extension of the last component."""
        return PurePosixPath(self.path).suffix

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file's bytes, READ_BYTES at a time. Raises OSError."""
        if mode != "rb":
            raise ValueError(f"a file in a store is only read, got mode {mode!r}")
        return cast(BinaryIO, io.BufferedReader(self.filesystem.open_input_file(self.path), READ_BYTES))

    def __str__(self) -> str:
        return self.uri


def is_uri(path: str) -> bool:
    """Whether a recipe's path names a store."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path) is not None


def split(uri: str) -> tuple[str, str, str]:
    """(folder or file before the first wildcard, glob below it, options with their `?`)."""
    whole, mark, options = uri.partition("?")
    scheme, _, rest = whole.partition("://")
    steps = rest.rstrip("/").split("/")
    fixed = next((i for i, step in enumerate(steps) if re.search(r"[*\[]", step)), len(steps))
    return f"{scheme}://{'/'.join(steps[:fixed])}", "/".join(steps[fixed:]), mark + options


def listing(uri: str, where: str) -> tuple[str, Iterator[tuple[RemotePath, str]]]:
    """(the folder that names are relative to, (file, name) of everything below it or of the one file).

    Raises: ConfigError naming `where`: no such scheme, or the store refuses (credentials, region, bucket, network).
    """
    base, glob, options = split(uri)
    try:
        filesystem, path = fs.FileSystem.from_uri(base + options)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.File and not glob:
            folder = base.rpartition("/")[0]
            return f"{folder}/", iter([(_file(base, info, filesystem), info.base_name)])
        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        found = [i for i in filesystem.get_file_info(selector) if i.type == fs.FileType.File]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ConfigError(
            f"{where}.path: {uri!r} cannot be listed: {error}; "
            "check bucket, region and credentials (of the environment, as pyarrow.fs reads them)"
        ) from None
    root = path.rstrip("/") + "/"
    below = ((i, i.path.removeprefix(root)) for i in found)
    return f"{base}/", ((_file(f"{base}/{name}", i, filesystem), name) for i, name in below)


def _file(uri: str, info: Any, filesystem: Any) -> RemotePath:
    return RemotePath(uri, info.path, info.size, info.mtime_ns or 0, filesystem)
