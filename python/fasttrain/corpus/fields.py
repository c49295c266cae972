"""From a record's fields (a JSON object, a Parquet row) to a document."""

from datetime import UTC, datetime
from typing import Any

from fasttrain.corpus.intake import Intake


class Fields:
    """Takes records of one file as its source's settings name their fields."""

    def __init__(self, intake: Intake, name: str) -> None:
        self.intake, self.name = intake, name

    def take(self, record: dict[str, Any], number: int, where: dict[str, Any], size: int) -> None:
        """Hand over one record; quarantine it when its text is missing, no text, or not decodable."""
        source, intake = self.intake.source, self.intake
        identity, url = _text(record, source.id_field), _text(record, source.url_field)
        origin = url or f"{self.name}#{identity or number}"
        value = lookup(record, source.text_field)
        if value is None:
            return intake.quarantine("no_text", origin, size, field=source.text_field, **where)
        if not isinstance(value, (str, bytes)):
            kind = type(value).__name__
            return intake.quarantine("text_not_a_string", origin, size, field=source.text_field, type=kind, **where)
        text = intake.encoded(value) if isinstance(value, str) else intake.decoded(value, source.encoding)
        if text is None:
            return intake.quarantine("encoding", origin, size, **where)
        meta: dict[str, Any] = {"record": f"{self.name}#{number}"} if url or identity else {}
        return intake.document(
            text,
            origin,
            licence=_text(record, source.licence_field),
            language=_text(record, source.language_field),
            timestamp=self._timestamp(record),
            meta=meta,
        )

    def _timestamp(self, record: dict[str, Any]) -> int | None:
        field = self.intake.source.timestamp_field
        value = lookup(record, field) if field else None
        if value is None:
            return None
        seconds = seconds_of(value)
        if seconds is None:
            self.intake.counts["unreadable_timestamps"] += 1
        return seconds


def lookup(record: dict[str, Any], field: str) -> Any:
    """The field's value, `a.b` reaching into objects; None when it is missing."""
    if field in record:
        return record[field]
    value: Any = record
    for step in field.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _text(record: dict[str, Any], field: str | None) -> str:
    value = lookup(record, field) if field else None
    if value is None or isinstance(value, (dict, list)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value).encode("utf-8", "replace").decode()


def seconds_of(value: Any) -> int | None:
    """Seconds since 1970 of an ISO 8601 text, a date or a number; None when it is neither or out of range."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12:
            return int(value)
    except (ValueError, OverflowError):
        return None
    return None
