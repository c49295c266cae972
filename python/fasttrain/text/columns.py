"""The zero-copy door between Arrow and native ops: a text column as one byte buffer and int64 offsets."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class TextColumn:
    """N texts: text i is data[offsets[i]:offsets[i + 1]]. `offsets` need not start at 0 (a slice of a larger array)."""

    data: npt.NDArray[np.uint8]  # (S,)
    offsets: npt.NDArray[np.int64]  # (N+1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of all texts."""
        return int(self.offsets[-1] - self.offsets[0])

    def __getitem__(self, i: int) -> bytes:
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()


def from_arrow(array: Any) -> TextColumn:
    """View a string column (Array or ChunkedArray) without copying; chunks and 32-bit offsets are joined first.

    Raises: ValueError: the column holds nulls. TypeError: it holds no text.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if not (pa.types.is_large_string(array.type) or pa.types.is_string(array.type)):
        raise TypeError(f"text: a column must be string or large_string, got {array.type}")
    if array.null_count:
        raise ValueError(f"text: a column must hold no nulls, got {array.null_count}")
    if pa.types.is_string(array.type):
        array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    n = len(array)
    view = np.zeros(1, np.int64) if n == 0 else np.frombuffer(offsets, np.int64)[array.offset : array.offset + n + 1]
    return TextColumn(np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), view)


def from_texts(texts: Iterable[str | bytes]) -> TextColumn:
    """Copy Python strings (or UTF-8 bytes) into one column."""
    raw = [t.encode() if isinstance(t, str) else t for t in texts]
    offsets = np.zeros(len(raw) + 1, np.int64)
    np.cumsum([len(r) for r in raw], out=offsets[1:])
    return TextColumn(np.frombuffer(b"".join(raw), np.uint8), offsets)


def to_arrow(column: TextColumn) -> Any:
    """The column as a pa.LargeStringArray that shares its memory. The bytes must be valid UTF-8."""
    buffers = [None, pa.py_buffer(column.offsets), pa.py_buffer(column.data)]
    return pa.Array.from_buffers(pa.large_string(), len(column), buffers)
