"""What every reader hands its records to: documents become Arrow batches, bad records ledger rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.streams import Damaged
from fasttrain.formats import document, ledger
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

STAGE = "corpus"
_ROWS = 4096
_BYTES = 16_000_000


class Intake:
    """One part's documents on their way in. `emit` takes batches of document.SCHEMA, `reject` of ledger.SCHEMA.

    Origins are unique within a part, or a large file that is made in pieces: a second record of the same origin gets
    ` (2)` behind it, and is counted. `taken`: origins of the pieces before.
    """

    def __init__(
        self,
        source: SourceConfig,
        config: CorpusConfig,
        emit: Callable[[Any], None],
        reject: Callable[[Any], None],
        taken: "Taken | None" = None,
        *,
        max_batch_bytes: int | None = None,
    ) -> None:
        self.source, self.config = source, config
        self._batch_bytes = min(_BYTES, max_batch_bytes or _BYTES)
        self.counts: Counter[str] = Counter()
        self._emit, self._reject = emit, reject
        self._taken = taken
        self._seen: dict[bytes, int] = {}  # by origin, the last number that was put behind it
        self._text: list[bytes] = []
        self._rows: list[tuple[str, str, str, int | None, str]] = []  # origin, licence, language, timestamp, meta
        self._bytes = 0
        self._bad: list[tuple[str, str, int, str]] = []  # origin, kind, size, evidence

    def document(
        self,
        text: bytes,
        origin: str,
        *,
        licence: str = "",
        language: str = "",
        timestamp: int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Take one text (valid UTF-8). An empty one, or one over the limit, is quarantined."""
        if len(text) > self.config.max_document_bytes:
            return self.quarantine("too_large", origin, len(text))
        if not text.strip():
            return self.quarantine("empty", origin, len(text))
        self._text.append(text)
        self._rows.append(
            (
                self._unique(origin),
                licence or self.source.licence,
                language or self.source.language,
                timestamp,
                json.dumps(meta, ensure_ascii=False, sort_keys=True) if meta else "{}",
            )
        )
        self._bytes += len(text)
        if len(self._rows) >= _ROWS or self._bytes >= self._batch_bytes:
            self._flush_documents()
        return None

    def decoded(self, raw: bytes, encoding: str) -> bytes | None:
        """`raw` as UTF-8 without a byte order mark; None when more than max_invalid_fraction cannot be decoded."""
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            text = raw.decode(encoding, "replace")
            replaced = text.count("\ufffd")
            if replaced > self.config.max_invalid_fraction * len(text):
                return None
            self.counts["repaired_texts"] += 1
            self.counts["replaced_characters"] += replaced
        return text.removeprefix("\ufeff").encode()

    def encoded(self, text: str) -> bytes | None:
        """A Python string as UTF-8; lone surrogates (JSON can name them) count as undecodable bytes."""
        try:
            return text.removeprefix("\ufeff").encode()
        except UnicodeEncodeError:
            return self.decoded(text.encode("utf-8", "surrogatepass"), "utf-8")

    def quarantine(self, kind: str, origin: str, size: int = 0, **evidence: Any) -> None:
        """Set a record aside: a ledger row `quarantine:<kind>` that says where it lies. Its text stays where it was."""
        self.set_aside(f"quarantine:{kind}", origin, size, **evidence)
        self.counts["quarantined"] += 1

    def set_aside(self, reason: str, origin: str, size: int = 0, **evidence: Any) -> None:
        """A ledger row for what never becomes a document: decision dropped, for this reason."""
        self._bad.append((origin, reason, size, json.dumps(evidence, ensure_ascii=False, sort_keys=True)))
        if len(self._bad) >= _ROWS:
            self._flush_bad()

    def damage(self, damage: Damaged, name: str, record: int) -> None:
        """The rest of file `name`, from `record` on, cannot be read."""
        origin = f"{name}#{record}"
        self.quarantine(damage.kind, origin, detail=damage.detail, file=name, record=record, position=damage.position)

    def flush(self) -> None:
        """Hand over what is left."""
        self._flush_documents()
        self._flush_bad()

    def _unique(self, origin: str) -> str:
        if self._is_free(origin):
            return origin
        self.counts["repeated_origins"] += 1
        number = self._seen.setdefault(_digest(origin), 1) + 1
        while not self._is_free(f"{origin} ({number})"):
            number += 1
        self._seen[_digest(origin)] = number
        return f"{origin} ({number})"

    def _is_free(self, origin: str) -> bool:
        """Whether no record has the origin yet; then this one has."""
        key = _digest(origin)
        if key in self._seen or (self._taken is not None and self._taken.holds(self.source.name, origin)):
            return False
        self._seen[key] = 1
        return True

    def _flush_documents(self) -> None:
        if not self._rows:
            return
        origin, licence, language, timestamp, meta = (list(column) for column in zip(*self._rows))
        n = len(origin)
        text = columns.from_texts(self._text)
        batch = pa.RecordBatch.from_arrays(
            [
                doc_ids(self.source.name, origin),
                _binary16(hash128(text)),
                columns.to_arrow(text),
                pa.array([self.source.name] * n, pa.string()),
                pa.array(origin, pa.string()),
                pa.array(licence, pa.string()),
                pa.array(language, pa.string()),
                pa.array(timestamp, pa.timestamp("s", tz="UTC")),
                pa.array(meta, pa.string()),
            ],
            schema=document.SCHEMA,
        )
        self._text, self._rows, self._bytes = [], [], 0
        self._emit(batch)

    def _flush_bad(self) -> None:
        if not self._bad:
            return
        origin, reason, size, evidence = (list(column) for column in zip(*self._bad))
        n = len(origin)
        batch = pa.RecordBatch.from_arrays(
            [
                doc_ids(self.source.name, origin),
                pa.array([STAGE] * n, pa.string()),
                pa.array([self.source.name] * n, pa.string()),
                pa.array(origin, pa.string()),
                pa.array([ledger.DROPPED] * n, pa.string()),
                pa.array(reason, pa.string()),
                pa.array([None] * n, pa.float64()),
                pa.array(size, pa.int64()),
                pa.array(evidence, pa.string()),
            ],
            schema=ledger.SCHEMA,
        )
        self._bad = []
        self._reject(batch)


class Taken:
    """Which origins other pieces of a file have: by the first 64 bits of the doc_id."""

    def __init__(self) -> None:
        self._ids = np.zeros(0, np.uint64)  # ascending

    def add(self, ids: npt.NDArray[np.uint64]) -> None:
        """Take in `heads`. Cost: linear in all, as two ascending runs are merged."""
        self._ids = np.sort(np.concatenate([self._ids, np.sort(ids)]), kind="stable")

    def find(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """(N,) Which `heads` are taken."""
        at = np.searchsorted(self._ids, ids)
        found = np.zeros(len(ids), np.bool_)
        inside = at < len(self._ids)
        found[inside] = self._ids[at[inside]] == ids[inside]
        return found

    def holds(self, source: str, origin: str) -> bool:
        """Whether one of them is the origin."""
        return bool(self.find(heads(doc_ids(source, [origin])))[0])


def heads(doc_id: Any) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each doc_id (a pa.FixedSizeBinaryArray without nulls)."""
    both = np.frombuffer(doc_id.buffers()[1], np.uint64)
    return both[2 * doc_id.offset : 2 * (doc_id.offset + len(doc_id)) : 2]


def _digest(origin: str) -> bytes:
    return hashlib.blake2b(origin.encode("utf-8", "surrogateescape"), digest_size=8).digest()  # not the URL: memory


def doc_ids(source: str, origins: list[str]) -> Any:
    """doc_id of each origin: 128-bit hash of source, NUL, origin; a pa.FixedSizeBinaryArray."""
    return _binary16(hash128(columns.from_texts([f"{source}\0{origin}" for origin in origins])))


def _binary16(hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> Any:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(hashes), [None, pa.py_buffer(hashes)])
