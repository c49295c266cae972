"""Blocks of whole JSONL lines whose text goes from the file to Arrow without a Python object a document.

A block is taken whole or not at all: what the readers line by line would quarantine, repair or skip, one by one, is
theirs, so that nothing depends on where blocks end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.json

from fasttrain.corpus import text_alone
from fasttrain.corpus.streams import Damaged
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn

BLOCK = 1 << 20
_INF = re.compile(rb"Inf\s*[,}\]]")


@dataclass(frozen=True)
class Block:
    """Whole lines of a file, each with its end."""

    data: bytes
    number: int  # of its first line, from 1
    position: int  # of its first byte, decoded
    rest: Iterator[bytes] | None = None  # of the last block: the bytes behind it, from which lines are read one by one


def blocks(chunks: Iterator[bytes], number: int, position: int) -> Iterator[Block]:
    """Cut a file's bytes behind lines, about BLOCK bytes each; the last one has what is left, and the damage.

    A line longer than a block ends it: from there on lines are read one by one, in bounded memory.
    """
    held: list[bytes] = []
    size = 0
    damage: Damaged | None = None
    while True:
        try:
            chunk = next(chunks, b"")
        except Damaged as found:
            damage, chunk = found, b""
        held.append(chunk)
        size += len(chunk)
        if chunk and size < BLOCK:
            continue
        data = b"".join(held)
        end = data.rfind(b"\n") + 1
        if not chunk or not end:
            yield Block(data[:end], number, position, _rest(data[end:], chunks, damage))
            return
        yield Block(data[:end], number, position)
        number, position = number + data.count(b"\n", 0, end), position + end
        held, size = [data[end:]], len(data) - end


def _rest(data: bytes, chunks: Iterator[bytes], damage: Damaged | None) -> Iterator[bytes]:
    if data:
        yield data
    if damage is not None:
        raise damage
    yield from chunks


def texts(block: bytes, field: str, max_bytes: int) -> TextColumn | None:
    """The text of each line; None when a line is anything but an object with a text to keep as it is.

    Args:
        max_bytes: of a line.
    """
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == 10)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    sizes = ends - starts
    if not len(ends) or int(sizes.min()) < 2 or int(sizes.max()) > max_bytes:
        return None
    last = ends - 1 - (raw[ends - 1] == 13)
    # One object a line, as there are as many as lines, and in each begins one and ends one.
    if not (raw[starts] == ord("{")).all() or not (raw[last] == ord("}")).all():
        return None
    if _INF.search(block):
        return None  # a number to Arrow, but not to others
    if not text_alone.is_utf8(block):
        return None
    schema = pa.schema([(field, pa.large_string())])
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        found = table.column(field).combine_chunks()
        found = found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
        found.validate(full=True)
    except pa.ArrowInvalid:
        return None
    if len(found) != len(ends) or found.null_count:
        return None
    column = columns.from_arrow(found)
    return None if text_alone.has_other(column) else column
