"""Parquet: one row a record, its text in a named column. A damaged row group costs its own rows only."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.corpus.config import SourceConfig
from fasttrain.corpus.fields import Fields
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.remote import RemotePath

_ROWS = 256


def read(file: LakeFile, intake: Intake) -> None:
    """Hand over every row. A file without the text column, or with one that is no text, is quarantined whole."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    try:
        if isinstance(file.path, RemotePath):
            table = pq.ParquetFile(file.path.path, filesystem=file.path.filesystem)
        else:
            table = pq.ParquetFile(file.path)
    except OSError as error:
        return intake.quarantine("unreadable", file.name, detail=str(error), file=file.name)
    except pa.ArrowException as error:
        return intake.quarantine("corrupt", file.name, detail=_short(error), file=file.name)
    with table:
        schema = table.schema_arrow
        top = (
            intake.source.text_field
            if intake.source.text_field in schema.names
            else intake.source.text_field.split(".")[0]
        )
        if top not in schema.names:
            found = {"columns": schema.names[:50], "field": intake.source.text_field}
            return intake.quarantine("wrong_schema", file.name, file.size, file=file.name, **found)
        kind = schema.field(top).type
        if not (pa.types.is_nested(kind) or _is_text(kind)):
            found = {"field": top, "type": str(kind)}
            return intake.quarantine("wrong_schema", file.name, file.size, file=file.name, **found)
        _rows(table, _columns(intake.source, schema.names), file, intake)
    return None


def _rows(table: Any, columns: list[str], file: LakeFile, intake: Intake) -> None:
    fields = Fields(intake, file.name)
    first = 0  # row number of the group's first row
    for group in range(table.metadata.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        taken = 0
        try:
            for batch in table.iter_batches(batch_size=_ROWS, row_groups=[group], columns=columns):
                for record in _records(batch):
                    taken += 1
                    number = first + taken
                    fields.take(record, number, {"file": file.name, "record": number}, 0)
        except (OSError, pa.ArrowException) as error:
            record_number, lost = first + taken + 1, rows - taken
            where = {"file": file.name, "record": record_number, "records": lost, "row_group": group}
            intake.quarantine("corrupt", f"{file.name}#{record_number}", detail=_short(error), **where)
        first += rows


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


def _columns(source: SourceConfig, names: list[str]) -> list[str]:
    fields = (
        source.text_field, source.id_field, source.url_field, source.licence_field, source.language_field,
        source.timestamp_field,
    )  # fmt: skip
    wanted = {f if f in names else f.split(".")[0] for f in fields if f}
    return [name for name in names if name in wanted]


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:300]
