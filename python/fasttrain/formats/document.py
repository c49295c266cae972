"""The document: the row that every data stage reads and writes (Arrow schema, version 1).

doc_id     128-bit hash of (source, origin): who it is, stable while its text is edited
text_hash  128-bit hash of the text as it was read
text       UTF-8; large_string, so offsets are int64
source     mixture domain
origin     URL, or path#record
licence    SPDX expression, or "unknown"
language   ISO 639 code; "" until the filter stage has named it
timestamp  milliseconds UTC (what Parquet stores), null when unknown
meta       JSON object; what a stage learned and others may use (quality scores, HTTP status, edits)
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.errors import FormatError

VERSION = 1
SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("text_hash", pa.binary(16), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("meta", pa.string(), nullable=False),
    ],
    metadata={"fasttrain.document": str(VERSION)},
)


def read_documents(path: Path, columns: list[str] | None = None) -> Any:
    """Read one part as a pa.Table (all columns, or those named). Raises FormatError on another schema."""
    return pa.Table.from_batches(list(iter_documents(path, columns)), schema=_subset(columns))


def iter_documents(path: Path, columns: list[str] | None = None, rows: int = 4096) -> Iterable[Any]:
    """Stream one part as pa.RecordBatch of at most `rows` rows. Raises FormatError when it is damaged or foreign."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(
            f"{path}: not a readable Parquet file ({error}); run the stage that wrote it again"
        ) from error
    with file:
        if (found := file.schema_arrow.remove_metadata()) != SCHEMA.remove_metadata():
            raise FormatError(f"{path}: must have the document schema v{VERSION}, got {found}")
        # Columns side by side only where the rank has more than one core: ranks would take each other's.
        for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=threads_of_rank() > 1):
            yield batch.cast(_subset(columns)) if batch.schema != _subset(columns) else batch


def _subset(columns: list[str] | None) -> Any:
    return SCHEMA if columns is None else pa.schema([SCHEMA.field(c) for c in columns], metadata=SCHEMA.metadata)
