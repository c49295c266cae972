"""What every reader hands its records to: documents become Arrow batches, bad records ledger rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.corpus import text_alone
from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.streams import Damaged
from fasttrain.formats import document, ledger
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128

STAGE = "corpus"
_ROWS = 4096
_BYTES = 16_000_000
_TIME = pa.timestamp("s", tz="UTC")
_UNHASHED = document.SCHEMA.remove(document.SCHEMA.get_field_index("text_hash"))


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
        # Origins name#number by their name: what `texts` took, which is not in `_seen`, and what came alone, which is.
        self._numbered: dict[str, list[range]] = {}
        self._alone: dict[str, list[range]] = {}
        self._batches: list[Any] = []  # documents not handed over yet, before those of `_rows`
        self._num_rows = 0  # in both
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
        if not text or text.isspace():
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
        self._num_rows += 1
        if self._num_rows >= _ROWS or self._bytes >= self._batch_bytes:
            self._flush_documents()
        return None

    def texts(self, text: TextColumn, name: str, first: int) -> bool:
        """Take the texts (valid UTF-8, none empty) of consecutive records of a file, with nothing but their text.

        Returns: False when one of them cannot be taken so, and none was.
        """
        records = range(first, first + len(text))
        sizes = np.diff(text.offsets)
        origin = text_alone.origins(name, first, len(text))
        named = pc.binary_join_element_wise(pa.scalar(f"{self.source.name}\0"), origin, "")
        ids = _binary16(hash128(columns.from_arrow(named), threads=1))  # too few to share out
        if int(sizes.max(initial=0)) > self.config.max_document_bytes or not self._are_free(name, records, ids):
            return False
        self._numbered.setdefault(name, []).append(records)
        self._close_rows()
        begin, upto = 0, np.cumsum(sizes)
        while begin < len(text):  # batches end where they do when documents come one by one
            before = upto[begin] - sizes[begin]
            end = int(np.searchsorted(upto, before + self._batch_bytes - self._bytes)) + 1
            end = min(end, begin + _ROWS - self._num_rows, len(text))
            part = TextColumn(text.data, text.offsets[begin : end + 1])
            self._batches.append(self._batch(ids[begin:end], part, origin[begin:end]))
            self._num_rows += end - begin
            self._bytes += part.num_bytes
            begin = end
            if self._num_rows >= _ROWS or self._bytes >= self._batch_bytes:
                self._flush_documents()
        return True

    def _are_free(self, name: str, records: range, ids: Any) -> bool:
        if self._taken is not None and self._taken.find(heads(ids)).any():
            return False
        others = [*self._numbered.get(name, ()), *self._alone.get(name, ())]
        return not any(max(records.start, r.start) < min(records.stop, r.stop) for r in others)

    def decoded(self, raw: bytes, encoding: str) -> bytes | None:
        """`raw` as UTF-8 without a byte order mark; None when more than max_invalid_fraction cannot be decoded."""
        if encoding == "utf-8" and text_alone.is_utf8(raw):
            return raw.removeprefix(text_alone.BOM)
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
        name, _, digits = origin.rpartition("#")
        number = int(digits) if digits.isdecimal() and len(digits) < 19 else -1
        is_numbered = number >= 0 and str(number) == digits
        if is_numbered and any(number in r for r in self._numbered.get(name, ())):
            return False
        if key in self._seen or (self._taken is not None and self._taken.holds(self.source.name, origin)):
            return False
        self._seen[key] = 1
        if is_numbered:
            alone = self._alone.setdefault(name, [])
            if alone and alone[-1].stop == number:
                number = alone.pop().start
            alone.append(range(number, int(digits) + 1))
        return True

    def _flush_documents(self) -> None:
        self._close_rows()
        if not self._batches:
            return
        batches, self._batches, self._num_rows, self._bytes = self._batches, [], 0, 0
        made = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        hashes = _binary16(hash128(columns.from_arrow(made.column("text"))))
        ids, *others = made.columns
        self._emit(pa.RecordBatch.from_arrays([ids, hashes, *others], schema=document.SCHEMA))

    def _close_rows(self) -> None:
        """Make a batch of the documents that came one by one."""
        if not self._rows:
            return
        origin, licence, language, timestamp, meta = (list(column) for column in zip(*self._rows))
        text = columns.from_texts(self._text)
        ids = doc_ids(self.source.name, origin)
        more = (licence, language, timestamp, meta)
        self._batches.append(self._batch(ids, text, pa.array(origin, pa.string()), *more))
        self._text, self._rows = [], []

    def _batch(
        self,
        ids: Any,
        text: TextColumn,
        origin: Any,
        licence: list[str] | None = None,
        language: list[str] | None = None,
        timestamp: list[int | None] | None = None,
        meta: list[str] | None = None,
    ) -> Any:
        """Documents of document.SCHEMA without their hashes; what is not given is the source's."""
        n = len(text)
        return pa.RecordBatch.from_arrays(
            [
                ids,
                columns.to_arrow(text),
                _repeated(self.source.name, n),
                origin,
                _repeated(self.source.licence, n) if licence is None else pa.array(licence, pa.string()),
                _repeated(self.source.language, n) if language is None else pa.array(language, pa.string()),
                pa.nulls(n, _TIME) if timestamp is None else pa.array(timestamp, _TIME),
                _repeated("{}", n) if meta is None else pa.array(meta, pa.string()),
            ],
            schema=_UNHASHED,
        )

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


def _repeated(text: str, n: int) -> Any:
    return pa.repeat(pa.scalar(text, pa.string()), n)


def _binary16(hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> Any:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(hashes), [None, pa.py_buffer(hashes)])
