"""Parquet: one row a record, its text in a named column. A damaged row group costs its own rows only."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.corpus import text_alone
from fasttrain.corpus.config import SourceConfig
from fasttrain.corpus.fields import Fields
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.remote import RemotePath
from fasttrain.text.columns import TextColumn, from_arrow

_ROWS = 256
_FEW = 8  # rows that are not worth halving


class Unreadable(Exception):
    """Nothing can be read of a file. `kind` of quarantine, and its evidence."""

    def __init__(self, kind: str, size: int = 0, **evidence: Any) -> None:
        super().__init__(kind)
        self.kind, self.size, self.evidence = kind, size, evidence


def read(file: LakeFile, intake: Intake) -> None:
    """Hand over every row. A file without the text column, or with one that is no text, is quarantined whole."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    if file.piece is not None and file.piece.lost is not None:
        return _lose(file, file.records_before + 1, *file.piece.lost, intake)
    if file.piece is not None and file.piece.path:
        with pa.memory_map(file.piece.path) as source, pa.ipc.open_stream(source) as rows:
            return _group(rows, file.records_before, file.piece.rows, file.piece.groups[0], file, intake)
    try:
        with opened(file) as table:
            wanted = columns(file, intake.source, table.schema_arrow)
            first = file.records_before
            for group in range(table.metadata.num_row_groups) if file.piece is None else range(*file.piece.groups):
                rows = table.metadata.row_group(group).num_rows
                _group(batches(table, group, wanted), first, rows, group, file, intake)
                first += rows
    except Unreadable as problem:
        intake.quarantine(problem.kind, file.name, problem.size, file=file.name, **problem.evidence)
    return None


def opened(file: LakeFile) -> Any:
    """The pq.ParquetFile. Raises Unreadable."""
    try:
        if isinstance(file.path, RemotePath):
            return pq.ParquetFile(file.path.path, filesystem=file.path.filesystem)
        return pq.ParquetFile(file.path)
    except OSError as error:
        raise Unreadable("unreadable", detail=str(error)) from None
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of a column's name
        raise Unreadable("corrupt", detail=short(error)) from None


def columns(file: LakeFile, source: SourceConfig, schema: Any) -> list[str]:
    """Top-level columns that hold what the settings name. Raises Unreadable: none holds text."""
    names = schema.names
    top = source.text_field if source.text_field in names else source.text_field.split(".")[0]
    if top not in names:
        raise Unreadable("wrong_schema", file.size, columns=names[:50], field=source.text_field)
    kind = schema.field(top).type
    if not (pa.types.is_nested(kind) or _is_text(kind)):
        raise Unreadable("wrong_schema", file.size, field=top, type=str(kind))
    fields = (
        source.text_field, source.id_field, source.url_field, source.licence_field, source.language_field,
        source.timestamp_field,
    )  # fmt: skip
    wanted = {f if f in names else f.split(".")[0] for f in fields if f}
    return [name for name in names if name in wanted]


def batches(table: Any, group: int, columns: list[str]) -> Iterator[Any]:
    """The rows of one row group as pa.RecordBatch."""
    return iter(table.iter_batches(batch_size=_ROWS, row_groups=[group], columns=columns))


def short(error: Exception) -> str:
    """An error's first line."""
    return str(error).split("\n")[0][:300]


def _group(batches: Iterable[Any], first: int, count: int, group: int, file: LakeFile, intake: Intake) -> None:
    """Hand over the `count` rows of a group, or of a piece of one; `first` come before them in the file."""
    fields = Fields(intake, file.name)
    taken = 0
    try:
        for batch in batches:
            for rows, texts in _slices(batch, intake.source):
                if texts is not None and intake.texts(texts, file.name, first + taken + 1):
                    taken += len(rows)
                    continue
                for record in _records(rows):
                    taken += 1
                    fields.take(record, first + taken, {"file": file.name, "record": first + taken}, 0)
    except (OSError, pa.ArrowException) as error:
        _lose(file, first + taken + 1, count - taken, group, short(error), intake)


def _lose(file: LakeFile, record: int, rows: int, group: int, why: str, intake: Intake) -> None:
    """Quarantine `rows` rows of a row group from `record` on."""
    where: dict[str, Any] = {"file": file.name, "record": record, "records": rows, "row_group": group}
    intake.quarantine("corrupt", f"{file.name}#{record}", detail=why, **where)


def _slices(batch: Any, source: SourceConfig) -> Iterator[tuple[Any, TextColumn | None]]:
    """The batch in slices, each with the text of its rows, or None where one has anything but a text to keep as it is.

    Halved around such rows, so that a null among good texts costs itself and a few neighbours a Python object.
    """
    is_alone = text_alone.suits(source) and batch.schema.names == [source.text_field]
    if not is_alone or not (pa.types.is_string(batch.column(0).type) or pa.types.is_large_string(batch.column(0).type)):
        yield batch, None
        return
    waiting = [batch]
    while waiting:
        rows = waiting.pop()
        texts = _texts(rows.column(0))
        if texts is not None or len(rows) <= _FEW:
            yield rows, texts
        else:
            half = len(rows) // 2
            waiting += [rows.slice(half), rows.slice(0, half)]


def _texts(column: Any) -> TextColumn | None:
    if column.null_count:
        return None
    try:
        column.validate(full=True)  # Arrow does not check that strings are UTF-8
    except pa.ArrowInvalid:
        return None
    texts = from_arrow(column)
    return None if text_alone.has_other(texts) else texts


def _records(batch: Any) -> list[dict[str, Any]]:
    """Rows as dicts. Arrow does not check that strings are UTF-8: those that are not come as bytes."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        arrays = [c.cast(pa.large_binary()) if _is_text(c.type) else c for c in batch.columns]
        batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(test(kind) for test in (*tests, pa.types.is_large_binary))
