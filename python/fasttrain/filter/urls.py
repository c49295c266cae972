"""Lists of domains and URLs: a document whose origin is on one of them goes. Nothing is listed by default."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard

from fasttrain.core.errors import ConfigError
from fasttrain.filter import url_list
from fasttrain.filter.rules import RuleFamily
from fasttrain.text import columns

REASONS = ("url:domain", "url:url", "url:word")
_BLOCK_BYTES = 1 << 24


class UrlConfig(RuleFamily):
    """Domains and URLs that are not wanted."""

    domains: tuple[str, ...] = ()
    """Domains; their subdomains go too."""
    domain_files: tuple[str, ...] = ()
    """Files of domains, one a line, or hosts files ("#" begins a comment): plain, .gz, .zst, or a .tar, .tar.gz or
    .tar.zst whose members called `domains` count (UT1's); relative to the recipe."""
    urls: tuple[str, ...] = ()
    """Whole URLs; scheme, user, default port, fragment, a last slash and the letter case of the host do not matter."""
    url_files: tuple[str, ...] = ()
    """Files of URLs, one a line; of archives the members called `urls`."""
    words: tuple[str, ...] = ()
    """A URL with one of these between two non-letters goes ("casino")."""
    word_files: tuple[str, ...] = ()
    """Files of words, one a line."""


class UrlLists:
    """The lists of a recipe, read once."""

    def __init__(self, config: UrlConfig, base: Path) -> None:
        self.domains = _read(config.domains, config.domain_files, base, "domains", "filter.url.domain_files")
        self.urls = _read(config.urls, config.url_files, base, "urls", "filter.url.url_files")
        words = [*config.words]
        for i, name in enumerate(config.word_files):
            for block in blocks(base / name, "words", f"filter.url.word_files.{i}"):
                words += [w.strip() for w in block.decode().splitlines()]
        self.words, self.word_bytes = url_list.of_words(sorted({w for w in words if w and not w.startswith("#")}))

    def find(self, origin: Any, threads: int | None = None) -> npt.NDArray[np.uint8]:
        """(N,) 1 + index into REASONS, or 0, for each origin (a pa.Array of strings)."""
        if not (len(self.domains) or len(self.urls) or len(self.words)):
            return np.zeros(len(origin), np.uint8)
        column = columns.from_arrow(origin)
        return url_list.find(column, self.domains, self.urls, self.words, self.word_bytes, threads=threads)


def _read(given: tuple[str, ...], files: tuple[str, ...], base: Path, kind: str, key: str) -> url_list.UrlSet:
    def all_blocks() -> Iterator[bytes]:
        yield "\n".join(given).encode()
        for i, name in enumerate(files):
            yield from blocks(base / name, kind, f"{key}.{i}")

    try:
        return url_list.read(all_blocks(), kind)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: entries must be ASCII or UTF-8, got {error}; convert the file") from None


def blocks(path: Path, kind: str, key: str) -> Iterator[bytes]:
    """The lines of a list file, some megabytes at a time. Raises: ConfigError: it cannot be read."""
    try:
        with path.open("rb") as raw:
            plain: Any = raw
            stem = path.name
            if stem.endswith((".gz", ".tgz")):
                plain = gzip.GzipFile(fileobj=raw)
            elif stem.endswith(".zst"):
                plain = io.BufferedReader(_Zstd(raw), _BLOCK_BYTES)
            if stem.removesuffix(".gz").removesuffix(".zst").endswith((".tar", ".tgz")):
                with tarfile.open(fileobj=plain, mode="r|") as archive:
                    for member in archive:
                        if member.isfile() and Path(member.name).name == kind:
                            found = archive.extractfile(member)
                            assert found is not None
                            yield from _lines(found)
            else:
                yield from _lines(plain)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zstandard.ZstdError, ValueError) as error:
        raise ConfigError(f"{key}: {path} must be a readable list file, got {error}; correct the path") from None


class _Zstd(io.RawIOBase):
    """All frames of a zstd file; one that has no end is an EOFError (zstandard's own stream says nothing)."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ready = file, b""
        self._frame: Any = None  # the frame that has begun and not ended

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        rest = b""  # of what was read, behind the frame's end
        while not self._ready:
            data = rest or self._file.read(1 << 17)
            if not data:
                if self._frame is not None:
                    raise EOFError("the last zstd frame has no end")
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready, rest = self._frame.decompress(data), b""
            if self._frame.eof:
                rest, self._frame = self._frame.unused_data, None
                if self._ready and rest:  # read again: what is behind belongs to the next call
                    self._file.seek(-len(rest), io.SEEK_CUR)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        whole, newline, tail = block.rpartition(b"\n")
        if not newline:
            rest += block
            continue
        yield rest + whole
        rest = tail
    if rest:
        yield rest


def strings(array: Any) -> Any:
    """A column as one pa.Array of large strings."""
    flat = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return flat.cast(pa.large_string())
