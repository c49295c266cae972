"""JSONL, plain or compressed: one object a line, its text in a named field."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from fasttrain.corpus import json_nested, jsonl_blocks, text_alone
from fasttrain.corpus.fields import Fields
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.streams import Lines


def read(file: LakeFile, intake: Intake) -> None:
    """Hand over every record. A line that is no object, lacks its text or is too long is quarantined by its number."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    first = file.records_before + 1
    if not text_alone.suits(intake.source):
        return _read_lines(file.chunks(), file.name, intake, first, file.position)
    for block in jsonl_blocks.blocks(file.chunks(), first, file.position):
        source, limit = intake.source, intake.config.max_document_bytes
        found = jsonl_blocks.texts(block.data, source.text_field, limit) if block.data else None
        number, position = block.number, block.position
        if block.data and (found is None or not intake.texts(found, file.name, number)):
            if block.rest is None:
                _read_lines(iter([block.data]), file.name, intake, number, position)
            else:
                _read_lines(chain([block.data], block.rest), file.name, intake, number, position)
        elif block.rest is not None:
            number, position = number + block.data.count(b"\n"), position + len(block.data)
            _read_lines(block.rest, file.name, intake, number, position)
    return None


def _read_lines(chunks: Iterator[bytes], name: str, intake: Intake, first: int, position: int) -> None:
    lines = Lines(chunks, intake.config.max_document_bytes, number=first, position=position)
    fields = Fields(intake, name)
    number = first - 1
    for line in lines:
        number = line.number
        where = {"file": name, "record": number, "position": line.position}
        origin = f"{name}#{number}"
        if line.data is None:
            intake.quarantine("too_large", origin, line.size, **where)
            continue
        if not line.data.strip():
            continue
        record = _object(line.data, intake)
        if isinstance(record, dict):
            fields.take(record, number, where, line.size)
        elif not lines.cut:  # a cut line that is no object belongs to the damage below
            intake.quarantine(record, origin, line.size, **where)
    if lines.damage is not None:
        intake.damage(lines.damage, name, number if lines.cut else number + 1)


def _object(data: bytes, intake: Intake) -> dict[str, Any] | str:
    """The line's object, or the reason why it has none."""
    line = _line(data, intake)
    if line is None:
        return "encoding"
    try:
        record = json_nested.loads(line)
    except ValueError:
        return "not_json"
    return record if isinstance(record, dict) else "not_an_object"


def _line(data: bytes, intake: Intake) -> str | None:
    """The line's characters, those that cannot be decoded replaced; None when they are too many."""
    encoding = intake.source.encoding
    try:
        if encoding == "utf-8":
            return data.decode(json.detect_encoding(data), "surrogatepass")
        return data.decode(encoding)
    except UnicodeDecodeError:
        text = intake.decoded(data, encoding)
        return None if text is None else text.decode()
