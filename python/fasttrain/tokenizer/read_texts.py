"""Texts from wherever they are, in columns of a few megabytes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttrain.formats.document import iter_documents
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128

Texts = Iterable[str | bytes | Path] | TextColumn | Any
"""Strings or UTF-8 bytes, a TextColumn, a pyarrow string column, or Paths: of a .parquet file its documents are the
texts, of any other file its lines, each with its end (as tokenizers' `train(files)` reads them)."""

BATCH_BYTES = 2 << 20  # what is held of the text at a time


def read_columns(texts: Texts) -> Iterator[TextColumn]:
    """The texts, in order. Raises TypeError for one string, which is no sequence of texts."""
    if isinstance(texts, TextColumn):
        yield texts
    elif isinstance(texts, pa.Array | pa.ChunkedArray):
        yield columns.from_arrow(texts)
    elif isinstance(texts, str | bytes):
        raise TypeError("bpe_train: texts must be many texts, or Paths; got one string")
    elif isinstance(texts, Path):
        yield from read_columns([texts])
    else:
        batch: list[str | bytes] = []
        size = 0
        for text in _texts(texts):
            if isinstance(text, TextColumn):
                yield text
                continue
            batch.append(text)
            size += len(text)
            if size >= BATCH_BYTES:
                yield columns.from_texts(batch)
                batch, size = [], 0
        yield columns.from_texts(batch)


def _texts(texts: Iterable[str | bytes | Path]) -> Iterator[str | bytes | TextColumn]:
    for text in texts:
        if not isinstance(text, Path):
            yield text
        elif text.suffix == ".parquet":
            for batch in iter_documents(text, ["text"]):
                yield columns.from_arrow(batch.column("text"))
        else:
            yield from lines_of(text)


def lines_of(path: Path, block_bytes: int = BATCH_BYTES) -> Iterator[TextColumn]:
    """The lines of a file, each with its end, block by block; only a line longer than a block makes it longer."""
    rest: list[bytes] = []
    with path.open("rb") as file:
        while block := file.read(block_bytes):
            stop = block.rfind(b"\n") + 1
            if stop:
                yield _cut_lines(b"".join([*rest, block[:stop]]))
                rest = []
            rest.append(block[stop:])
    if any(rest):
        yield _cut_lines(b"".join(rest))


def _cut_lines(block: bytes) -> TextColumn:
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n")) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    return TextColumn(data, np.concatenate([np.zeros(1, np.int64), ends]))


def sample(texts: Texts, sample_bytes: int, *, threads: int | None = None) -> Iterator[TextColumn]:
    """About `sample_bytes` of the texts, which must be readable more than once: those with the lowest hashes, so the
    sample is the same whatever the order, and a larger one holds it."""
    total = sum(column.num_bytes for column in read_columns(texts))
    limit = (sample_bytes << 64) // max(total, 1)
    for column in read_columns(texts):
        if limit < 1 << 64:
            column = take(column, hash128(column, threads=threads)[:, 0] < np.uint64(limit))
        yield column


def take(column: TextColumn, kept: Any) -> TextColumn:
    """The texts n with kept[n]: (N,) bool."""
    return column if kept.all() else columns.from_texts([column[n] for n in np.flatnonzero(kept).tolist()])
