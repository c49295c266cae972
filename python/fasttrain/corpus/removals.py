"""Documents that must not be read: the list that `audit forget --apply` writes and the corpus stage obeys.

One JSON object a line; a line is never taken out by us. A document is on the list by its doc_id, by its text, or both:
by text, a copy that comes in under another name is refused too; by doc_id, another version of the same page. A record
that is named by its number in a file (path#7) is listed by text alone: records move when the file is edited.

The list is not among the settings, and it is no source file: it is the stage's revision (formats.stage.run_stage). A
finished part stays when no document of it has come onto the list or left it, which `touched` finds out from the part's
own doc_ids, text hashes and ledger; what that part holds is a function of the lake, the settings and the list either
way, so the bytes are those of a run from the beginning.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import atomic
from fasttrain.formats.part import PartReport
from fasttrain.formats.stage import evidence

REASON = "governance:removal_request"
_HEX = r"^[0-9a-f]{32}$"


class Removal(Settings):
    """One line of the list."""

    request: str = Field(min_length=1)
    """The request that asked for it."""
    doc_id: str | None = Field(default=None, pattern=_HEX)
    """No document of this name is read; null for a record that only its number names."""
    text_hash: str | None = Field(default=None, pattern=_HEX)
    """No document of this text is read; null when the text is not known."""
    why: Literal["asked", "copy"] = "asked"
    """Asked for, or a copy of what was."""

    @model_validator(mode="after")
    def _names_something(self) -> "Removal":
        if self.doc_id is None and self.text_hash is None:
            raise ValueError("doc_id and text_hash must not both be missing")
        return self


class Removals:
    """The list, ready to be asked by the batch."""

    def __init__(self, listed: Iterable[Removal] = ()) -> None:
        self._by_id: dict[bytes, str] = {}
        self._by_text: dict[bytes, str] = {}
        for removal in listed:
            for name, table in ((removal.doc_id, self._by_id), (removal.text_hash, self._by_text)):
                if name is not None:
                    table.setdefault(bytes.fromhex(name), removal.request)
        self._ids = pa.array(sorted(self._by_id), pa.binary(16))
        self._texts = pa.array(sorted(self._by_text), pa.binary(16))

    def __len__(self) -> int:
        return len(self._by_id) + len(self._by_text)

    @property
    def revision(self) -> Any:
        """Plain data that stands for the list; None for an empty one."""
        if not len(self):
            return None
        return [fingerprint([name.hex() for name in sorted(table)]) for table in (self._by_id, self._by_text)]

    def find(self, batch: Any) -> npt.NDArray[np.bool_]:
        """(N,) Which documents (pa.RecordBatch or Table with doc_id and text_hash) are on the list."""
        if not len(self):
            return np.zeros(len(batch), np.bool_)
        by_id = pc.is_in(batch.column("doc_id"), value_set=self._ids)
        by_text = pc.is_in(batch.column("text_hash"), value_set=self._texts)
        return np.asarray(pc.or_(by_id, by_text).to_numpy(zero_copy_only=False), np.bool_)

    def evidence(self, doc_id: bytes, text_hash: bytes) -> str:
        """The ledger's cell for a document that is on the list."""
        if request := self._by_id.get(doc_id):
            return evidence(request=request, by="doc_id")
        return evidence(request=self._by_text[text_hash], by="text", text_hash=text_hash.hex())

    def still_explains(self, doc_id: bytes, cell: str) -> bool:
        """Whether a removal of the ledger would be decided, and told, the same way today."""
        text = bytes.fromhex(json.loads(cell).get("text_hash", ""))
        return (doc_id in self._by_id or text in self._by_text) and self.evidence(doc_id, text) == cell


def read(paths: Sequence[Path]) -> Removals:
    """The lists together; a missing file is an empty one. Raises ConfigError naming the line that is none."""
    return Removals(removal for path in paths if path.exists() for removal in lines(path))


def lines(path: Path) -> list[Removal]:
    """One list's lines. Raises ConfigError naming the line that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"removals: {path} must be a readable UTF-8 file, got {error}") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(Removal.model_validate_json(line))
            except ValueError as error:
                detail = "; ".join(str(e["msg"]) for e in getattr(error, "errors", list)()) or str(error)
                raise ConfigError(f"removals: {path}, line {number}: {detail}; correct the line") from None
    return found


def add(path: Path, removals: Sequence[Removal]) -> int:
    """Put removals at the end of a list, those that it lacks; return how many. The file is replaced whole."""
    before = lines(path) if path.exists() else []
    known = {(r.doc_id, r.text_hash) for r in before}
    new = [r for r in removals if (r.doc_id, r.text_hash) not in known]
    if new:
        text = "".join(r.model_dump_json() + "\n" for r in [*before, *new])
        atomic.write_bytes(path, text.encode())
    return len(new)


def touched(folder: Path, report: PartReport, removals: Removals) -> bool:
    """Whether a finished part of the corpus stage holds a document that is on the list, or lacks one that is not.

    Raises: FormatError: a file of the part is damaged.
    Cost: 32 bytes a document; the ledger is read only of parts that have lost a document to the list.
    """
    try:
        for file in report.files:
            path = folder / file.path
            if not path.exists():
                continue  # the part is made again in any case
            if file.path.endswith(".ledger.parquet"):
                if REASON in report.report.dropped and not _holds(path, removals):
                    return True
            elif len(removals) and removals.find(pq.read_table(path, columns=["doc_id", "text_hash"])).any():
                return True
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"removals: {folder}: a finished part cannot be read: {error}; remove the folder") from None
    return False


def _holds(path: Path, removals: Removals) -> bool:
    rows = pq.read_table(path, columns=["doc_id", "evidence"], filters=[("reason", "==", REASON)])
    pairs = zip(rows.column("doc_id").to_pylist(), rows.column("evidence").to_pylist())
    return all(removals.still_explains(doc_id, cell) for doc_id, cell in pairs)
