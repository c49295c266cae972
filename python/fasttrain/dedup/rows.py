"""What the stage holds of each document: 68 bytes in arrays, in the order of parts and rows, and never its text."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.minhash import minhash
from fasttrain.formats.document import iter_documents
from fasttrain.formats.stage import PartWriter
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

ROW = np.dtype(
    [
        ("hash", "<u8", 2),  # of the text as it is now (text_hash is of the text as it was read)
        ("id", "<u8", 2),  # doc_id as two numbers that sort as its bytes do
        ("bytes", "<i8"),
        ("words", "<i8"),
        ("quality", "<f8"),
        ("source", "<i4"),  # of this part's list of sources
    ]
)
Ints = npt.NDArray[np.int64]


def make_rows(path: Path, writer: PartWriter, config: DedupConfig) -> None:
    """Write one part's rows and, for fuzzy search, its band keys (bands, n)."""
    rows: list[npt.NDArray[Any]] = [np.empty(0, ROW)]
    keys: list[npt.NDArray[np.uint64]] = [np.empty((0, config.bands), np.uint64)]
    sources: dict[str, int] = {}
    for batch in iter_documents(path, ["doc_id", "text", "source", "meta"]):
        texts = columns.from_arrow(batch.column("text"))
        row = np.zeros(len(batch), ROW)
        row["hash"] = hash128(texts)
        row["id"] = np.frombuffer(b"".join(batch.column("doc_id").to_pylist()), ">u8").reshape(-1, 2)
        row["bytes"] = np.diff(texts.offsets)
        row["source"] = [sources.setdefault(s, len(sources)) for s in batch.column("source").to_pylist()]
        if config.quality_key:
            row["quality"] = [_quality(m, config.quality_key) for m in batch.column("meta").to_pylist()]
        if config.fuzzy:
            words = np.empty(len(batch), np.int64)
            sig = minhash(
                texts, ngram=config.ngram, num_hashes=config.bands * config.rows, seed=config.seed, num_words=words
            )
            row["words"] = words
            keys.append(band_keys(sig, config.bands))
        rows.append(row)
    table = np.concatenate(rows)
    save(writer, ".rows.npy", table)
    if config.fuzzy:
        save(writer, ".bands.npy", np.ascontiguousarray(np.concatenate(keys).T))
    writer.extra = {"sources": list(sources), "rows": len(table)}


def save(writer: PartWriter, suffix: str, array: npt.NDArray[Any]) -> None:
    """Write an array as one of the part's files."""
    with writer.path(suffix, len(array)).open("wb") as file:
        np.save(file, array)


def band_keys(sig: npt.NDArray[np.uint32], bands: int) -> npt.NDArray[np.uint64]:
    """(N, bands) 64-bit keys: the rows of each band, mixed. Two different bands share a key once in 2**64."""
    parts = sig.reshape(len(sig), bands, -1)
    key = np.full(parts.shape[:2], 0x9E3779B97F4A7C15, np.uint64)
    for r in range(parts.shape[2]):
        key = (key ^ parts[:, :, r]) * np.uint64(0xBF58476D1CE4E5B9)  # mod 2**64
        key ^= key >> np.uint64(32)
    return key


def _quality(meta: str, key: str) -> float:
    value = json.loads(meta).get(key, 0) if meta else 0
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True)
class Rows:
    """The rows of every part, and where each part begins. A document is its number in this order."""

    table: npt.NDArray[Any]  # (N,) of ROW, `source` being a number of `sources`
    starts: Ints  # (parts + 1,)
    sources: list[str]

    def __len__(self) -> int:
        return len(self.table)

    def part_of(self, documents: Ints) -> Ints:
        """The part of each document."""
        part: Ints = np.searchsorted(self.starts, documents, side="right") - 1
        return part

    def local(self, documents: Ints, part: int) -> Ints:
        """The row numbers in `part` of those of the (sorted) documents that lie in it."""
        first, last = np.searchsorted(documents, self.starts[part : part + 2])
        local: Ints = documents[first:last] - self.starts[part]
        return local

    def rank(self, config: DedupConfig) -> Ints:
        """(N,) place of each document in the order of preference; 0 is the one to keep first."""
        priority = np.array([config.priority.get(s, 0) for s in self.sources] or [0])
        columns_by_name = {
            "priority": [-priority[self.table["source"]]],
            "quality": [-self.table["quality"]],
            "length": [-self.table["bytes"]],
            "id": [self.table["id"][:, 0], self.table["id"][:, 1]],
        }
        keys = [column for name in (*config.order, "id") for column in columns_by_name[name]]
        order = np.lexsort(keys[::-1])  # stable: what is equal in everything keeps the order of parts and rows
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self))
        return rank

    @cached_property
    def scope_of_source(self) -> Ints:
        """Number of each document's source."""
        return self.table["source"].astype(np.int64)

    def doc_id(self, document: int) -> str:
        """In hex."""
        return bytes(self.table["id"][document].astype(">u8").tobytes()).hex()


def read_rows(folder: Path, reports: list[dict[str, Any]]) -> Rows:
    """Read what make_rows wrote; `reports` are the parts' extras, in order."""
    sources = sorted({s for r in reports for s in r["sources"]})
    number = {s: i for i, s in enumerate(sources)}
    tables = [np.empty(0, ROW)]
    for i, report in enumerate(reports):
        table = np.load(folder / f"part-{i:05d}.rows.npy")
        if len(table):
            table["source"] = np.array([number[s] for s in report["sources"]], np.int32)[table["source"]]
        tables.append(table)
    starts = np.concatenate([[0], np.cumsum([r["rows"] for r in reports], dtype=np.int64)]).astype(np.int64)
    return Rows(np.concatenate(tables), starts, sources)
