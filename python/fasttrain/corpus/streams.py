"""Bytes of a file, decompressed, in pieces of bounded size; what lies before a damaged place comes to the last byte.

The standard readers lose what they decoded in the call that meets the damage (gzip, zstandard) or say nothing when a
zstd frame is cut, so the formats are driven here: gzip by a decoder that is copied before each step, zstd block by
block (RFC 8878), each of which gives at most 128 KiB, bzip2 by a decoder that cannot be copied: where it fails, the
stream is decoded a second time up to there.

Flipped bytes that still decode show only in the checksum at the end of a gzip member, zstd frame (or never, in a zstd
frame without one) or bzip2 block. What was decoded behind them has been given by then: the damage is reported, with
wrong text before.
"""

import bz2
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from fasttrain.corpus.remote import RemotePath

_READ = 1 << 15
_STEP = 1 << 20  # most bytes that one step of inflate may give: bounds the memory of a compression bomb
_MAX_WINDOW = 1 << 27  # what the zstd command line takes without --long=31
_ZSTD = 0xFD2FB528
_MAX_BLOCK = 1 << 17
_BZ2_MARKS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")  # of a first block, of a stream without one
SUFFIXES = (".gz", ".zst", ".bz2")
"""Of compressed files."""


class Damaged(Exception):
    """The rest of a file cannot be read. `kind`: truncated, corrupt or unreadable; `position`: decoded bytes before."""

    def __init__(self, kind: str, detail: str, position: int = 0) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.position = kind, detail, position


@dataclass(frozen=True)
class Section:
    """Part of a file's decoded bytes, which lie in a plain file."""

    start: int  # its first byte in that file
    end: int  # behind its last
    position: int  # of its first byte in the decoded file
    damage: tuple[str, str, int] | None = None  # what keeps from reading on: kind, detail, position


def is_plain(path: Path | RemotePath) -> bool:
    """Whether a file's bytes need no decoding. Raises Damaged: it cannot be read, or is not what its name says."""
    try:
        with path.open("rb") as file:
            return _decoder(path, file.read(10)) is _plain
    except OSError as error:
        raise Damaged("unreadable", error.strerror or str(error)) from None


def section(path: Path | RemotePath, part: Section) -> Iterator[bytes]:
    """Yield the section's bytes. Raises Damaged after them, when it has damage, or the file has become shorter."""
    position = part.start
    try:
        with path.open("rb") as file:
            file.seek(position)
            while position < part.end and (piece := file.read(min(_READ, part.end - position))):
                yield piece
                position += len(piece)
    except OSError as error:
        raise Damaged("unreadable", error.strerror or str(error), part.position + position - part.start) from None
    if position < part.end:
        raise Damaged("truncated", "shorter than it was a moment ago", part.position + position - part.start)
    if part.damage is not None:
        raise Damaged(*part.damage)


def chunks(path: Path | RemotePath) -> Iterator[bytes]:
    """Yield the file's decoded bytes (gzip, zstd and bzip2 by their first bytes). Raises Damaged after what decodes."""
    position = 0
    try:
        with path.open("rb") as file:
            head = file.read(10)
            file.seek(0)
            for piece in _decoder(path, head)(file):
                yield piece
                position += len(piece)
    except OSError as error:
        raise Damaged("unreadable", error.strerror or str(error), position) from None
    except Damaged as damage:
        damage.position = position
        raise


def _decoder(path: Path | RemotePath, head: bytes) -> Any:
    if head[:2] == b"\x1f\x8b":
        return _gzip
    if len(head) >= 4 and _is_zstd(int.from_bytes(head[:4], "little")):
        return _zstd
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and any(mark.startswith(head[4:]) for mark in _BZ2_MARKS):
        return _bz2
    if head and path.suffix in SUFFIXES:
        raise Damaged("corrupt", f"does not begin as a {path.suffix} file does")
    return _plain


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_READ):
        yield piece


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    data = b""
    while True:
        data = data or file.read(_READ)
        before = decoder.copy() if data else decoder
        try:
            piece = decoder.decompress(data, _STEP)
        except zlib.error as error:
            yield from _salvage(before, data)
            raise Damaged("corrupt", str(error)) from None
        if piece:
            yield piece
        if decoder.eof:
            data = decoder.unused_data or file.read(_READ)
            while data and not (data := data.lstrip(b"\0")):  # padding between members is allowed
                data = file.read(_READ)
            if not data:
                return
            decoder = zlib.decompressobj(wbits=31)
        elif not data and not piece:
            raise Damaged("truncated", "the gzip stream has no end")
        else:
            data = decoder.unconsumed_tail


def _salvage(decoder: Any, data: bytes) -> Iterator[bytes]:
    """What the bytes before the damaged one decode to."""
    try:
        for i in range(len(data)):
            if piece := decoder.decompress(data[i : i + 1]):
                yield piece
    except zlib.error:
        return


def _bz2(file: BinaryIO) -> Iterator[bytes]:
    decoder = bz2.BZ2Decompressor()
    read = start = given = 0  # bytes of the file so far; where the stream begins in it; what it has decoded to
    while data := file.read(_READ):
        last, read = read, read + len(data)
        while data or not decoder.needs_input:
            try:
                piece = decoder.decompress(data, _STEP)
            except OSError:
                yield from _salvage_bz2(file, start, max(start, last), read, given)
                raise Damaged("corrupt", "not what a bzip2 stream holds") from None
            given += len(piece)
            data = b""
            if piece:
                yield piece
            if decoder.eof:
                data = decoder.unused_data
                start, given = read - len(data), 0
                decoder = bz2.BZ2Decompressor()
    if read > start:
        raise Damaged("truncated", "the bzip2 stream has no end")


def _salvage_bz2(file: BinaryIO, start: int, last: int, end: int, given: int) -> Iterator[bytes]:
    """What the stream at `start` decodes to behind its first `given` bytes; byte by byte from `last`, the failing read.

    libbz2 gives the end of one block and fails in the next within one call, whose output is lost: with single bytes
    these are two calls.
    """
    decoder = bz2.BZ2Decompressor()
    file.seek(start)
    try:
        while start < end and not decoder.eof:
            data = file.read(min(_READ, last - start) if start < last else 1)
            start += len(data)
            while data or not decoder.needs_input:
                piece = decoder.decompress(data, _STEP)
                data = b""
                if fresh := piece[given:]:
                    yield fresh
                given = max(0, given - len(piece))
    except OSError:
        return


def _is_zstd(magic: int) -> bool:
    return magic == _ZSTD or magic & 0xFFFFFFF0 == 0x184D2A50


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise Damaged("truncated", "the zstd frame has no end")
    return data


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    while head := file.read(4):
        magic = int.from_bytes(head, "little")
        if len(head) < 4 or not _is_zstd(magic):
            raise Damaged("truncated" if len(head) < 4 else "corrupt", "no zstd frame where one must begin")
        if magic != _ZSTD:
            size = int.from_bytes(_exactly(file, 4), "little")
            while size:
                size -= len(_exactly(file, min(size, _READ)))
            continue
        try:
            yield from _zstd_frame(file, head)
        except zstandard.ZstdError as error:
            raise Damaged("corrupt", str(error)) from None


def _zstd_frame(file: BinaryIO, magic: bytes) -> Iterator[bytes]:
    """One frame: header, blocks (3-byte header: last, type, size), checksum."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    descriptor = _exactly(file, 1)
    single_segment = descriptor[0] >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor[0] >> 6]
    header = _exactly(file, 1 - single_segment + (0, 1, 2, 4)[descriptor[0] & 3] + content_size)
    decoder.decompress(magic + descriptor + header)
    last = 0
    while not last:
        head = _exactly(file, 3)
        block = int.from_bytes(head, "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        if kind == 3 or size > _MAX_BLOCK:
            raise Damaged("corrupt", "a zstd block of no known kind or size")
        if piece := decoder.decompress(head + _exactly(file, 1 if kind == 1 else size)):
            yield piece
    if descriptor[0] >> 2 & 1 and (piece := decoder.decompress(_exactly(file, 4))):
        yield piece


@dataclass(frozen=True)
class Line:
    """One line of a file."""

    number: int  # from 1
    position: int  # of its first byte, decoded
    size: int
    data: bytes | None  # without its end; None when it is longer than the limit


class Lines:
    """Iterate over the lines of a file's bytes (`chunks`, `section`), holding at most `max_bytes` of one.

    `damage` says afterwards why it ended early. The unfinished line before the damage is given too, with `cut` set: it
    may be whole. `number` and `position` are those of the first line, of a section that begins with one.
    """

    def __init__(self, source: Iterator[bytes], max_bytes: int, *, number: int = 1, position: int = 0) -> None:
        self._source, self._max, self._number, self._position = source, max_bytes, number, position
        self.damage: Damaged | None = None
        self.cut = False

    def __iter__(self) -> Iterator[Line]:
        number, position = self._number, self._position
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                chunk = next(self._source, b"")
            except Damaged as damage:
                self.damage = damage
                chunk = b""
            if not chunk:
                break
            *ended, rest = chunk.split(b"\n")
            for end in ended:
                size += len(end)
                pieces.append(end)
                yield Line(number, position, size, b"".join(pieces) if size <= self._max else None)
                number, position, size, pieces = number + 1, position + size + 1, 0, []
            size += len(rest)
            if size <= self._max:
                pieces.append(rest)
            else:
                pieces = []
        if size:
            self.cut = self.damage is not None
            yield Line(number, position, size, b"".join(pieces) if size <= self._max else None)


class Whole:
    """All bytes of a file, unless they are more than the limit."""

    def __init__(self, path: Path | RemotePath, max_bytes: int) -> None:
        pieces: list[bytes] = []
        self.size = 0
        self.damage: Damaged | None = None
        try:
            for chunk in chunks(path):
                self.size += len(chunk)
                if self.size > max_bytes:
                    pieces = []
                    break
                pieces.append(chunk)
        except Damaged as damage:
            self.damage = damage
        self.is_too_large = self.size > max_bytes
        self.data = b"".join(pieces)
