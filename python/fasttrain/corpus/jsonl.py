"""JSONL, plain or compressed: one object a line, its text in a named field."""

import json
from typing import Any

from fasttrain.corpus.fields import Fields
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.streams import Lines


def read(file: LakeFile, intake: Intake) -> None:
    """Hand over every record. A line that is no object, lacks its text or is too long is quarantined by its number."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    first = file.records_before + 1
    lines = Lines(file.chunks(), intake.config.max_document_bytes, number=first, position=file.position)
    fields = Fields(intake, file.name)
    number = first - 1
    for line in lines:
        number = line.number
        where = {"file": file.name, "record": number, "position": line.position}
        origin = f"{file.name}#{number}"
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
        intake.damage(lines.damage, file.name, number if lines.cut else number + 1)
    return None


def _object(data: bytes, intake: Intake) -> dict[str, Any] | str:
    """The line's object, or the reason why it has none."""
    try:
        record = json.loads(data if intake.source.encoding == "utf-8" else data.decode(intake.source.encoding))
    except UnicodeDecodeError:
        text = intake.decoded(data, intake.source.encoding)
        return "encoding" if text is None else _object(text, intake)
    except (ValueError, RecursionError):
        return "not_json"
    return record if isinstance(record, dict) else "not_an_object"
