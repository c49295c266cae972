"""WARC, plain or compressed: pages of a crawl. HTML is extracted, plain text (also WET files) passes through."""

from collections.abc import Iterator
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.fields import seconds_of
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.streams import Damaged

_HTML = ("text/html", "application/xhtml+xml")
_KNOWN = ("request", "revisit", "metadata", "warcinfo", "continuation")
_WANTED = WarcRecordType.response | WarcRecordType.conversion | WarcRecordType.resource
_ENVELOPE = (
    b"WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: %d\r\n\r\n"
)


class Stream:
    """The decoded file for fastwarc; a damaged place is its end, and is remembered."""

    def __init__(self, chunks: Iterator[bytes], position: int = 0) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._position = position
        self.tail = b""  # the last bytes that were read
        self.damage: Damaged | None = None

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except Damaged as damage:
                self.damage = damage
        piece = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(piece) :]
        self._position += len(piece)
        data = bytes(piece)
        self.tail = (self.tail + data)[-4:]
        return data

    def tell(self) -> int:
        return self._position


def read(file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand over the text of every page. What is no page (requests, redirects, images) is counted by what it is."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    stream: Any = Stream(file.chunks(), file.position)
    number = file.records_before
    problem: Damaged | None = None
    try:
        for record in ArchiveIterator(
            stream, parse_http=False, record_types=WarcRecordType.any_type, stream_detect=False
        ):
            number += 1
            _take(record, number, file, intake, extractor)
    except OSError as error:  # a record that does not begin as records do
        problem = Damaged("corrupt", str(error))
    while problem is None and stream.read(1 << 20):  # to the end: a checksum may yet fail there
        continue
    problem = stream.damage or problem
    if problem is None and number == 0:
        problem = Damaged("corrupt", "holds no WARC record")
    elif problem is None and file.ends_here and not stream.tail.endswith((b"\r\n\r\n", b"\n\n")):
        # here fastwarc ends without a word
        problem = Damaged("truncated", "does not end as a record does", stream.tell())
    if problem is not None:
        intake.damage(problem, file.name, number + 1)
    return None


def _take(record: Any, number: int, file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    if not record.record_type & _WANTED:
        kind = str(record.record_type)
        if kind not in _KNOWN:
            where = {"file": file.name, "record": number, "position": record.stream_pos}
            return intake.quarantine("no_warc_type", f"{file.name}#{number}", **where)
        intake.counts[f"warc_{kind}"] += 1
        return None
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>")
    origin = url or f"{file.name}#{number}"
    limit = intake.config.max_document_bytes
    stated = _int(record.headers.get("Content-Length"))
    where = {"file": file.name, "record": number, "position": record.stream_pos}
    if stated > limit:
        return intake.quarantine("too_large", origin, stated, **where)
    block = _read(record.reader, stated, limit)
    if len(block) < stated:
        return intake.quarantine("truncated", origin, stated, present=len(block), **where)
    meta: dict[str, Any] = {"record": f"{file.name}#{number}"}
    date = seconds_of(record.headers.get("WARC-Date") or "")
    content_type, charset, body = record.headers.get("Content-Type") or "", "", block
    if content_type.replace(" ", "").startswith("application/http") or record.record_type == WarcRecordType.response:
        try:
            message = WarcRecord.from_bytes(_ENVELOPE % len(block) + block + b"\r\n\r\n")  # the record stays as it is
            message.parse_http(auto_decode="all")
            http = message.http_headers
            status = http.status_code if http is not None else None
            if status != 200:
                intake.counts[f"http_status_{status or 'none'}"] += 1
                return None
            content_type, charset = http.get("Content-Type") or "", message.http_charset or ""
            body = _read(message.reader, len(block), limit)
        except (OSError, ValueError) as error:  # chunked or compressed otherwise than the header says
            return intake.quarantine("http", origin, stated, detail=str(error), **where)
        if len(body) > limit:
            return intake.quarantine("too_large", origin, len(body), **where)
    media = content_type.split(";")[0].strip().lower()
    if media == "text/plain":
        text = intake.decoded(body, charset if _is_encoding(charset) else "utf-8")
        if text is None:
            return intake.quarantine("encoding", origin, len(body), **where)
    elif media in _HTML or not media:
        page = extractor.html(body, charset=charset)
        if page.problem:
            return intake.quarantine(page.problem, origin, len(body), detail=page.detail, **where)
        page.count(intake.counts)
        text = page.text
    else:
        intake.counts[f"media_{media.split('/')[0]}"] += 1
        return None
    return intake.document(text, origin, timestamp=date, meta=meta)


def _read(reader: Any, likely: int, limit: int) -> bytes:
    """At most `limit` + 1 bytes. Not asked for at once: fastwarc clears a buffer of the size that is asked for."""
    data: bytes = reader.read(likely + 1)
    if len(data) <= likely:
        return data
    pieces, size = [data], len(data)
    while size <= limit and (piece := reader.read(min(1 << 20, limit + 1 - size))):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _int(text: str | None) -> int:
    return int(text) if text and text.strip().isdigit() else 0


def _is_encoding(name: str) -> bool:
    try:
        return bool(name) and "".encode(name) is not None
    except LookupError:
        return False
