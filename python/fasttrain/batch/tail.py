"""The end of a document as a probe of its own: where it is cut, who it is, and what sums up a set of texts."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.formats import document
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

# A tail below a few sentences measures mostly its missing context; three quarters of a document stay in training.
_MIN_TAIL, _MAX_SHARE = 512, 4
SUFFIX = "#tail"


def tail_bytes(sizes: npt.NDArray[np.int64], fraction: float) -> npt.NDArray[np.int64]:
    """Bytes that documents of `sizes` (N,) give: the fraction, at least _MIN_TAIL, at most a quarter; short: none."""
    wanted = np.maximum((sizes * fraction).astype(np.int64), _MIN_TAIL)
    return np.where(sizes < _MIN_TAIL * _MAX_SHARE, 0, np.minimum(wanted, sizes // _MAX_SHARE))


def cut_at(text: bytes, wanted: int) -> int:
    """Byte at which the last `wanted` bytes or so begin: behind a blank line, else a line's end, else a space.

    The tail has between half and twice the wanted bytes, and never more than half of the text; where there is no such
    place, the cut falls between two characters.
    """
    target = len(text) - wanted
    low, high = max(len(text) - 2 * wanted, len(text) // 2), len(text) - max(wanted // 2, 1)
    for mark in (b"\n\n", b"\n", b" "):
        before, after = text.rfind(mark, low, target), text.find(mark, target, high)
        places = [p + len(mark) for p in (before, after) if p >= 0 and p + len(mark) <= high]
        if places:
            return min(places, key=lambda p: abs(p - target))
    while target < len(text) and text[target] & 0xC0 == 0x80:  # inside a character of UTF-8
        target += 1
    return target


def tail_id(source: str, origin: str) -> bytes:
    """doc_id of a document's tail."""
    return hash128(columns.from_texts([f"{source}\0{origin}{SUFFIX}"])).tobytes()


def tail_documents(batch: Any, cuts: dict[int, int]) -> Any:
    """The tails of the rows of `cuts` (row -> byte) as documents of their own."""
    rows = sorted(cuts)
    part = batch.take(pa.array(rows, pa.int64()))
    texts = [t.encode()[cuts[i] :] for i, t in zip(rows, part.column("text").to_pylist())]
    sources, origins = part.column("source").to_pylist(), part.column("origin").to_pylist()
    new = {
        "doc_id": pa.array([tail_id(s, o) for s, o in zip(sources, origins)], pa.binary(16)),
        "text_hash": pa.array(
            [bytes(h) for h in hash128(columns.from_texts(texts)).view(np.uint8).reshape(-1, 16)], pa.binary(16)
        ),
        "text": pa.array([t.decode() for t in texts], pa.large_string()),
        "origin": pa.array([o + SUFFIX for o in origins], pa.string()),
    }
    return pa.RecordBatch.from_arrays(
        [new.get(name, part.column(name)) for name in document.SCHEMA.names], schema=document.SCHEMA
    )


def probe_sum(batch: Any) -> int:
    """A number for a set of documents that does not depend on their order: sum of BLAKE2b(doc_id, text), mod 2^128."""
    return sum(
        int.from_bytes(hashlib.blake2b(i + t.encode(), digest_size=16).digest(), "little")
        for i, t in zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist())
    )
