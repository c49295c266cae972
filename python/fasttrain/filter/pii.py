"""Personal data: found natively over a batch, masked, counted. What was found is never kept anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.filter import pii_ref
from fasttrain.filter.pii_ref import KINDS
from fasttrain.text.columns import TextColumn

PLACEHOLDERS = {
    "email": b"<EMAIL>", "ip": b"<IP>", "phone": b"<PHONE>", "card": b"<CARD>", "iban": b"<IBAN>",
    "national_id": b"<NATIONAL_ID>", "secret": b"<SECRET>",
}  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """M findings in N texts, in order: text n's are [starts[n], starts[n + 1])."""

    starts: npt.NDArray[np.int64]  # (N+1,)
    begins: npt.NDArray[np.int64]  # (M,) first byte, counted from the text's start
    ends: npt.NDArray[np.int64]  # (M,) one past the last byte
    kinds: npt.NDArray[np.uint8]  # (M,) index into KINDS


@dataclass(frozen=True)
class Masked:
    """Texts with placeholders where personal data was."""

    column: TextColumn
    counts: npt.NDArray[np.int32]  # (N, len(KINDS)) findings that were masked, by kind


def find(column: TextColumn, *, threads: int | None = None, impl: str | None = None) -> Findings:
    """Return where personal data lies, by kind; the rules are in pii_ref.py.

    Shapes: N texts, M findings in all.
    Raises: TypeError: another dtype. ValueError: offsets that fall or leave the data, or an impl.
    Cost: reads each byte twice, 32 bytes a step (AVX2); the rules run at digits, `@`, `+` and `(` only.
    """
    op = "pii"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    impl = backend.choose(op, impl)
    starts = np.zeros(len(column) + 1, np.int64)
    if impl == "reference":
        found = [pii_ref.find(column[n]) for n in range(len(column))]
        np.cumsum([len(f) for f in found], out=starts[1:])
        flat = np.array([span for f in found for span in f], np.int64).reshape(-1, 3)
        return Findings(starts, flat[:, 0].copy(), flat[:, 1].copy(), flat[:, 2].astype(np.uint8))
    threads = threads or backend.num_threads()
    counts = np.empty(len(column), np.int64)
    backend.native("pii_count")(column.data, column.offsets, counts, threads, impl)
    np.cumsum(counts, out=starts[1:])
    begins, ends = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    kinds = np.empty(starts[-1], np.uint8)
    backend.native("pii_fill")(column.data, column.offsets, starts, begins, ends, kinds, threads, impl)
    return Findings(starts, begins, ends, kinds)


def count(column: TextColumn, *, threads: int | None = None, impl: str | None = None) -> npt.NDArray[np.int64]:
    """(N, len(KINDS)) Findings of each kind in each text. Raises: what `find` raises."""
    found = find(column, threads=threads, impl=impl)
    counts = np.zeros((len(column), len(KINDS)), np.int64)
    np.add.at(counts, (np.repeat(np.arange(len(column)), np.diff(found.starts)), found.kinds), 1)
    return counts


def mask(
    column: TextColumn, kinds: Sequence[str] = KINDS, *, threads: int | None = None, impl: str | None = None
) -> Masked:
    """Return the texts with each finding of the given kinds replaced by its placeholder (<EMAIL>, <IP>, ...).

    Shapes: N texts. Texts without a finding keep their bytes; without any finding the column itself comes back.
    Raises: ValueError: an unknown kind; what `find` raises.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"pii: kinds must be of {list(KINDS)}, got {unknown}")
    found = find(column, threads=threads, impl=impl)
    wanted = np.isin(found.kinds, [KINDS.index(k) for k in kinds])
    text_of = np.repeat(np.arange(len(column)), np.diff(found.starts))[wanted]
    counts = np.zeros((len(column), len(KINDS)), np.int32)
    np.add.at(counts, (text_of, found.kinds[wanted]), 1)
    if not wanted.any():
        return Masked(column, counts)
    begins = found.begins[wanted] + column.offsets[text_of]
    ends = found.ends[wanted] + column.offsets[text_of]
    marks = [PLACEHOLDERS[KINDS[k]] for k in found.kinds[wanted]]
    data, at = column.data, int(column.offsets[0])
    pieces: list[bytes] = []
    for begin, end, mark in zip(begins.tolist(), ends.tolist(), marks):
        pieces += [data[at:begin].tobytes(), mark]
        at = end
    pieces.append(data[at : int(column.offsets[-1])].tobytes())
    grown = np.zeros(len(column) + 1, np.int64)
    np.add.at(grown, text_of + 1, np.array([len(m) for m in marks]) - (ends - begins))
    offsets = column.offsets - column.offsets[0] + np.cumsum(grown)
    return Masked(TextColumn(np.frombuffer(b"".join(pieces), np.uint8), offsets), counts)
