"""Mail: mbox, one message a file (.eml) and maildir. Of a message its body counts: no header, attachment, signature.

A file that begins with `From ` is an mbox: a message begins at such a line, at the start or behind an empty line, and
`>From ` in a body loses one `>` (the mboxrd form). Any other file is one message. Of a message the parts that are plain
text are taken, or, when there are none, its HTML through the extractor; transfer encodings and charsets are undone (RFC
2045 to 2047, by the standard library's parser), and what follows the line `-- ` of a part is its signature (RFC 3676).
Attachments, attached messages among them, are passed over and counted.
"""

import email
import re
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.streams import Lines

_QUOTED = re.compile(rb"^>+From ")
_SIGNATURE = re.compile(rb"(?m)^-- $")


def read(file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand over every message, one in memory at a time. A message cut by damage is no document: the damage is told."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    lines = Lines(file.chunks(), intake.config.max_document_bytes)
    is_mbox, after_empty, number = False, True, file.records_before + 1
    message = _Raw(intake.config.max_document_bytes)
    for line in lines:
        data = line.data
        if data is not None and data.startswith(b"From ") and after_empty and (is_mbox or line.number == 1):
            if is_mbox:
                _take(message, file, number, intake, extractor, is_mbox=True)
                number += 1
            is_mbox, after_empty = True, False
            message = _Raw(intake.config.max_document_bytes)
            continue
        if is_mbox and data is not None and _QUOTED.match(data):
            data = data[1:]
        message.add(data, line.size)
        after_empty = data in (b"", b"\r")
    if lines.damage is not None:
        intake.damage(lines.damage, file.name, number)
    else:
        _take(message, file, number, intake, extractor, is_mbox=is_mbox)
    return None


class _Raw:
    """A message's lines, unless they are more than the limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self.size = 0
        self.lines: list[bytes] = []

    def add(self, line: bytes | None, size: int) -> None:
        self.size += size + 1
        if line is None or self.is_too_large:
            self.size = max(self.size, self._max + 1)
            self.lines = []
        else:
            self.lines.append(line)

    @property
    def is_too_large(self) -> bool:
        return self.size > self._max


def _take(raw: _Raw, file: LakeFile, number: int, intake: Intake, extractor: Extractor, *, is_mbox: bool) -> None:
    origin = f"{file.name}#{number}" if is_mbox else file.name
    where = {"file": file.name, "record": number}
    if raw.is_too_large:
        return intake.quarantine("too_large", origin, raw.size, **where)
    try:
        message = email.message_from_bytes(b"\n".join(raw.lines))
        plain, html = _bodies(message, intake)
    except RecursionError:
        return intake.quarantine("not_mail", origin, raw.size, detail="parts nested too deeply", **where)
    if not message.keys():
        return intake.quarantine("not_mail", origin, raw.size, detail="no header", **where)
    texts = []
    for part in plain or html:
        body, charset = _payload(part), _charset(part)
        if part in plain:
            text = _decoded(body, charset or "utf-8", intake)
            if text is None:
                return intake.quarantine("encoding", origin, raw.size, encoding=charset, **where)
        else:
            page = extractor.html(body, charset=charset)
            if page.problem:
                return intake.quarantine(page.problem, origin, raw.size, detail=page.detail, **where)
            page.count(intake.counts)
            text = page.text
        texts.append(_without_signature(text.replace(b"\r\n", b"\n"), intake).strip(b"\n"))
    return intake.document(b"\n\n".join(t for t in texts if t), origin, timestamp=_date(message))


def _bodies(message: Message, intake: Intake) -> tuple[list[Message], list[Message]]:
    """(plain text parts, HTML parts) of a message that are no attachments."""
    plain: list[Message] = []
    html: list[Message] = []
    pending: list[Any] = [message]
    while pending:
        part = pending.pop()
        kind = part.get_content_type()
        if part.get_content_maintype() == "multipart" and isinstance(part.get_payload(), list):
            pending.extend(reversed(part.get_payload()))
        elif part.get_content_disposition() == "attachment" or kind not in ("text/plain", "text/html"):
            intake.counts["mail_attachments"] += 1
        else:
            (plain if kind == "text/plain" else html).append(part)
    return plain, html


def _payload(part: Message) -> bytes:
    body = part.get_payload(decode=True)
    return body if isinstance(body, bytes) else b""


def _decoded(body: bytes, charset: str, intake: Intake) -> bytes | None:
    try:
        return intake.decoded(body, charset)
    except UnicodeError:  # of codecs like punycode, which know no replacement
        return None


def _charset(part: Message) -> str:
    """The charset that Python knows, "" for none; what is said to be ASCII is often UTF-8, which holds it."""
    try:
        stated = part.get_content_charset("") or ""
        b"a".decode(stated or "ascii", "replace")  # an empty text would be decoded without a look at the name
    except (LookupError, ValueError):
        return ""
    return "" if stated in ("us-ascii", "ascii") else stated


def _without_signature(text: bytes, intake: Intake) -> bytes:
    found = _SIGNATURE.search(text)
    if found is None:
        return text
    intake.counts["mail_signatures"] += 1
    return text[: found.start()]


def _date(message: Message) -> int | None:
    try:
        return int(parsedate_to_datetime(str(message.get("date", ""))).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
