"""How a large file is cut into pieces that ranks read side by side: at the end of a record, every `part_bytes`.

A file is decoded once, by one rank, which counts its records on the way: finding where a record ends costs a fraction
of what reading it does (a search for line ends, beside parsing JSON or extracting a page's text). Of a plain file, and
of Parquet by row groups, a piece is a place in the file itself; of others its decoded bytes are kept until it is read.
A row group that is larger than a piece is cut between rows. What is damaged is told by the piece that ends there.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from fastwarc.warc import ArchiveIterator, WarcRecordType

from fasttrain.corpus import parquet, warc
from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.lake import LakeFile, Part, Piece
from fasttrain.corpus.streams import Damaged, is_plain

_MESSAGE = re.compile(rb"\n\r?\nFrom ")  # as mail.py reads an mbox
_PAGE = re.compile(rb"</?page>")  # as wikidump.py cuts
_AHEAD = 1 << 20


@dataclass(frozen=True)
class _Mark:
    """A place between two records."""

    records: int  # before it
    position: int  # in the decoded file


_Marks = Callable[[Iterator[bytes], Callable[[], int]], Iterator[_Mark]]
"""(a file's chunks, the position from which on a mark is wanted) -> marks."""


def is_large(part: Part, config: CorpusConfig) -> bool:
    """Whether a part is one file of many records that is worth more than two parts."""
    file = part.files[0] if len(part.files) == 1 else None
    return file is not None and file.kind in KINDS and file.weight > 2 * config.part_bytes


def pieces(file: LakeFile, source: SourceConfig, piece_bytes: int, folder: Path) -> Iterator[Piece]:
    """Cut a file into pieces of at least `piece_bytes`, but for the last; those that are decoded lie in `folder`."""
    if file.kind == "parquet":
        found = _row_groups(file, source, piece_bytes, folder)
    else:
        found = _stream(file, _MARKS[file.kind], piece_bytes, folder)
    last: Piece | None = None
    for number, piece in enumerate(found):
        if last is not None:
            yield last
        last = replace(piece, number=number)
    if last is not None:
        yield replace(last, is_last=True)


def _stream(file: LakeFile, marks: _Marks, piece_bytes: int, folder: Path) -> Iterator[Piece]:
    damage: Damaged | None = None
    with _Copy(file, folder) as copy:
        try:
            yield from (copy.cut(mark) for mark in marks(copy.chunks(), lambda: copy.start + piece_bytes))
        except Damaged as found:
            damage = found
        if damage is not None:
            yield copy.cut(_Mark(0, copy.position), (damage.kind, damage.detail, damage.position))
        elif copy.position > copy.start or copy.start == 0:
            yield copy.cut(_Mark(0, copy.position))


class _Copy:
    """The decoded bytes of a file on their way, written down piece by piece, unless the file itself has them."""

    def __init__(self, file: LakeFile, folder: Path) -> None:
        self._file, self._folder = file, folder
        self._number = self._records = 0
        self.start = 0  # of the piece, in the decoded file
        self.position = 0  # behind the bytes that were seen
        self._out: BinaryIO | None = None

    def __enter__(self) -> "_Copy":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._out is not None:
            self._out.close()

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes; each is written when it is given. Raises Damaged."""
        if not is_plain(self._file.path):
            self._out = self._path.open("w+b")
        for chunk in self._file.chunks():
            self.position += len(chunk)
            if self._out is not None:
                self._out.write(chunk)
            yield chunk

    def cut(self, mark: _Mark, damage: tuple[str, str, int] | None = None) -> Piece:
        """The bytes up to the mark as a piece; the next begins there, and `mark.records` come before it."""
        size = mark.position - self.start
        if self._out is None:
            piece = Piece(self._records, self.start, "", self.start, mark.position, damage)
        else:
            piece = Piece(self._records, self.start, str(self._path), 0, size, damage)
        self._number, self._records, self.start = self._number + 1, mark.records, mark.position
        if self._out is not None:
            self._out.seek(size)
            beyond = self._out.read()  # at most what was read ahead to find the mark
            self._out.truncate(size)
            self._out.close()
            self._out = self._path.open("w+b")
            self._out.write(beyond)
        return piece

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._number:05d}.decoded"


def _lines(chunks: Iterator[bytes], reached: Callable[[], int]) -> Iterator[_Mark]:
    records = position = 0
    for chunk in chunks:
        done, first, position = 0, position, position + len(chunk)
        while end := chunk.find(b"\n", max(done, reached() - 1 - first)) + 1:
            records += chunk.count(b"\n", done, end)
            done = end
            yield _Mark(records, first + end)
        records += chunk.count(b"\n", done)


def _messages(chunks: Iterator[bytes], reached: Callable[[], int]) -> Iterator[_Mark]:
    is_mbox, records = None, 0
    for chunk, found in _search(_MESSAGE, 8, chunks):
        is_mbox = chunk.startswith(b"From ") if is_mbox is None else is_mbox
        for _, position in found if is_mbox else ():
            records += 1
            if position - len(b"From ") >= reached():
                yield _Mark(records, position - len(b"From "))


def _pages(chunks: Iterator[bytes], reached: Callable[[], int]) -> Iterator[_Mark]:
    records, is_open = 0, False
    for _, found in _search(_PAGE, 7, chunks):
        for mark, position in found:
            if mark == b"<page>":
                records, is_open = records + 1, True
            elif is_open:
                is_open = False
                if position >= reached():
                    yield _Mark(records, position)


def _search(
    pattern: re.Pattern[bytes], longest: int, chunks: Iterator[bytes]
) -> Iterator[tuple[bytes, list[tuple[bytes, int]]]]:
    """Each chunk, and what ends in it: (match, position behind it). `longest`: bytes of the longest match."""
    rest, position = b"", 0
    for chunk in chunks:
        data, begin = rest + chunk, position - len(rest)
        yield chunk, [(m[0], begin + m.end()) for m in pattern.finditer(data) if m.end() > len(rest)]
        rest, position = data[-(longest - 1) :], position + len(chunk)


def _warc_records(chunks: Iterator[bytes], reached: Callable[[], int]) -> Iterator[_Mark]:
    stream: Any = warc.Stream(chunks)
    records = 0
    try:
        for record in ArchiveIterator(
            stream, parse_http=False, record_types=WarcRecordType.any_type, stream_detect=False
        ):
            if records and record.stream_pos >= reached():
                yield _Mark(records, record.stream_pos)
            records += 1
        while stream.read(_AHEAD):
            continue
    except OSError:  # no record where one must begin: the reader of the piece says so, from the same bytes
        stream.read(_AHEAD)
    if stream.damage is not None:
        raise stream.damage


_MARKS: dict[str, _Marks] = {
    "jsonl": _lines, "mail": _messages, "warc": _warc_records, "wikitext": _pages,
}  # fmt: skip
"""Kind of file -> the places between its records, at least the first at or behind each position `reached` gives."""
KINDS = (*_MARKS, "parquet")
"""Kinds of files that hold many records."""


def _row_groups(file: LakeFile, source: SourceConfig, piece_bytes: int, folder: Path) -> Iterator[Piece]:
    try:
        table = parquet.opened(file)
        columns = parquet.columns(file, source, table.schema_arrow)
    except parquet.Unreadable:  # the reader says why
        yield Piece(0, 0)
        return
    with table:
        first = rows = size = 0  # of the piece that is begun: its first group; rows before it and in it; its bytes
        before = 0
        for group in range(table.metadata.num_row_groups):
            of = table.metadata.row_group(group)
            weight = _bytes_of(of, columns)
            if size and (size >= piece_bytes or weight > 2 * piece_bytes):
                yield Piece(before, 0, groups=(first, group))
                first, before, rows, size = group, before + rows, 0, 0
            if weight > 2 * piece_bytes:
                yield from _rows(table, group, columns, before, piece_bytes, folder)
                first, before = group + 1, before + of.num_rows
            else:
                rows, size = rows + of.num_rows, size + weight
        if first < table.metadata.num_row_groups or first == 0:
            yield Piece(before, 0, groups=(first, table.metadata.num_row_groups))


def _rows(table: Any, group: int, columns: list[str], before: int, piece_bytes: int, folder: Path) -> Iterator[Piece]:
    """The rows of one large row group, in files of their own; what cannot be read is a piece that says so."""
    batches = parquet.batches(table, group, columns)
    left = table.metadata.row_group(group).num_rows
    while left:
        path, begin, size, why = folder / f"{before:012d}.rows", before, 0, ""
        with ExitStack() as stack:
            out: Any = None
            try:
                while size < piece_bytes and (batch := next(batches, None)) is not None:
                    if out is None:
                        out = stack.enter_context(pa.ipc.new_stream(path, batch.schema))
                    out.write_batch(batch)
                    size, before, left = size + batch.nbytes, before + len(batch), left - len(batch)
            except (OSError, pa.ArrowException) as error:
                why = parquet.short(error)
        if out is not None:
            yield Piece(begin, 0, str(path), groups=(group, group + 1), rows=before - begin)
        if why:
            yield Piece(before, 0, lost=(left, group, why))
        if size < piece_bytes:
            return


def _bytes_of(group: Any, columns: list[str]) -> int:
    """Bytes of a row group's columns, uncompressed."""
    found = (group.column(i) for i in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in found if c.path_in_schema.split(".")[0] in columns)
