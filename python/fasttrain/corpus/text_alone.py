"""Records that are read for their text alone, which goes from file to Arrow without a Python object a document."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.corpus.config import SourceConfig
from fasttrain.text.columns import TextColumn

BOM = b"\xef\xbb\xbf"


def suits(source: SourceConfig) -> bool:
    """Whether a source's records are a text alone."""
    fields = (source.id_field, source.url_field, source.licence_field, source.language_field, source.timestamp_field)
    return not any(fields) and source.encoding == "utf-8" and "." not in source.text_field


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, as `bytes.decode` judges; no str is made of them."""
    if data.isascii():
        return True
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def has_other(column: TextColumn) -> bool:
    """Whether a text is empty, of white space and control characters, or begins with a byte order mark."""
    sizes = np.diff(column.offsets)
    if not sizes.all():
        return True
    first = column.data[column.offsets[:-1]]
    marked = np.flatnonzero(first == BOM[0]).tolist()
    if any(column[n].startswith(BOM) for n in marked):
        return True
    if not (first <= 32).any():
        return False
    data = column.data[: column.offsets[-1]]  # of a slice, what comes behind it is not the last text's
    return bool((np.maximum.reduceat(data, column.offsets[:-1]) <= 32).any())


def origins(name: str, first: int, count: int) -> Any:
    """`name#number` of consecutive records, as a pa.StringArray."""
    numbers = pc.cast(pa.array(np.arange(first, first + count)), pa.string())
    return pc.binary_join_element_wise(pa.scalar(f"{name}#"), numbers, "")
