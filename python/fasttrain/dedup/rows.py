"""What the stage writes down of each document in its one pass over the texts; memory maps from then on.

A document is its number: first those of the indexes of earlier corpora, then those of the input, part by part. Nothing
that is decided depends on the number; `order` gives the rank, which does not depend on parts.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.core.errors import FormatError
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exchange import Ints, Scatter, Words, raw, save, spread
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.minhash import minhash
from fasttrain.formats.document import iter_documents
from fasttrain.formats.part import PartWriter
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

ROW = np.dtype(
    [
        ("hash", "<u8", 2),  # of the text as it is now (text_hash is of the text as it was read)
        ("id", "<u8", 2),  # doc_id as two numbers that sort as its bytes do
        ("bytes", "<i8"),
        ("words", "<i8"),
        ("scope", "<u8"),  # scope_key of the source or dump; 0 when the scope is global
        ("source", "<i8"),  # of this part's list of sources
    ]
)
SIGN = np.uint64(1 << 63)


def make_rows(item: tuple[int, Path, int], writer: PartWriter, config: DedupConfig, targets: int) -> None:
    """Write one part's rows, band keys, policy keys and origins, and its hashes for the search of exact copies.

    Args:
        item: number of the part's first document, its path, its number of documents.
        targets: partitions that the hashes go to.
    """
    first, path, count = item
    sources: dict[str, int] = {}
    scopes: dict[str, int] = {}
    lengths = [np.zeros(1, np.int64)]
    short = done = 0
    with ExitStack() as stack:
        files = {
            s: stack.enter_context(writer.path(s, count).open("wb")) for s in (".rows", ".bands", ".policy", ".origins")
        }
        exact = stack.enter_context(Scatter(writer, ".exact", 5, targets, config.memory_records))
        for batch in iter_documents(path, ["doc_id", "text", "source", "origin", "timestamp", "meta"]):
            row = _rows(batch, config, sources, scopes)
            if config.fuzzy:
                texts = columns.from_arrow(batch.column("text"))
                words = np.empty(len(batch), np.int64)
                num_hashes = config.bands * config.rows
                sig = minhash(texts, ngram=config.ngram, num_hashes=num_hashes, seed=config.seed, num_words=words)
                row["words"] = words
                short += int((words < config.min_words).sum())
                band_keys(sig, config.bands).tofile(files[".bands"])
            if config.exact:
                number = np.arange(first + done, first + done + len(batch))
                keys = records_of(row["hash"][:, 0], row["hash"][:, 1], row["bytes"], row["scope"], number)
                exact.add(keys, spread(keys[:, 0], targets))
            row.tofile(files[".rows"])
            policy_keys(batch, row, config).tofile(files[".policy"])
            names = columns.from_arrow(batch.column("origin"))
            names.data[names.offsets[0] : names.offsets[-1]].tofile(files[".origins"])
            lengths.append(np.diff(names.offsets))
            done += len(batch)
    if done != count:
        raise FormatError(
            f"{path}: must hold {count} documents by its manifest, got {done}; run the stage before again"
        )
    save(writer, ".origins.npy", np.cumsum(np.concatenate(lengths)))
    writer.extra = {"sources": list(sources), "scopes": scopes, "rows": count, "too_short": short}


def _rows(batch: Any, config: DedupConfig, sources: dict[str, int], scopes: dict[str, int]) -> npt.NDArray[Any]:
    texts = columns.from_arrow(batch.column("text"))
    row = np.zeros(len(batch), ROW)
    row["hash"] = hash128(texts)
    row["id"] = ids_of(batch.column("doc_id"))
    row["bytes"] = np.diff(texts.offsets)
    source = pc.dictionary_encode(batch.column("source"))
    names = source.dictionary.to_pylist()
    at = source.indices.to_numpy(zero_copy_only=False)
    row["source"] = np.array([sources.setdefault(s, len(sources)) for s in names] or [0])[at]
    if config.scope != "global":
        if config.scope == "source":
            of = names
        else:
            of, at = np.unique(np.array(dumps(batch, config.dump_key), object), return_inverse=True)
        row["scope"] = np.array([scopes.setdefault(str(s), scope_key(str(s))) for s in of] or [0], np.uint64)[at]
    return row


def ids_of(column: Any) -> Words:
    """(n, 2) doc_ids as numbers that sort as their bytes do."""
    data = np.frombuffer(column.buffers()[1], ">u8").reshape(-1, 2)
    return data[column.offset : column.offset + len(column)].astype(np.uint64)


def scope_key(name: str) -> int:
    """64 bits that stand for a source or a dump; read_parts makes sure that no two share them."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def dumps(batch: Any, key: str) -> list[str]:
    """The dump of each document, "" where it has none."""
    kind, _, rest = key.partition(":")
    if kind == "meta":
        return ["" if v is None else str(v) for v in meta_values(batch.column("meta"), rest)]
    pattern = re.compile(rest)
    found = (pattern.search(origin) for origin in batch.column("origin").to_pylist())
    return ["" if m is None else (m.group(1) or "" if pattern.groups else m.group()) for m in found]


def meta_values(meta: Any, key: str) -> list[Any]:
    """The value of a key of each JSON object, None where it has none; only texts that hold the key are parsed."""
    holds = pc.match_substring(meta, json.dumps(key)).to_numpy(zero_copy_only=False)
    values: list[Any] = [None] * len(meta)
    for i in np.flatnonzero(holds).tolist():
        values[i] = json.loads(meta[i].as_py()).get(key)
    return values


def policy_keys(batch: Any, row: npt.NDArray[Any], config: DedupConfig) -> Words:
    """(n, W) numbers of which the smaller, compared word by word, belongs to the document to keep first.

    The last words are the text's hash: documents of one name (a page in two dumps) are in one order wherever they lie.
    """
    keys: list[Words] = []
    for name in (*config.order, *(("id",) if "id" not in config.order else ())):
        if name == "priority":
            source = pc.dictionary_encode(batch.column("source"))
            of = np.array([config.priority.get(s, 0) for s in source.dictionary.to_pylist()], np.int64)
            keys.append(~_ordered(of[source.indices.to_numpy(zero_copy_only=False)]))
        elif name == "quality" and config.quality_key:
            keys.append(~_ordered(_numbers(meta_values(batch.column("meta"), config.quality_key))))
        elif name == "length":
            keys.append(~_ordered(row["bytes"]))
        elif name in ("newest", "oldest"):
            time = batch.column("timestamp")
            value = _ordered(pc.fill_null(time.cast(pa.int64()), 0).to_numpy(zero_copy_only=False))
            value = ~value if name == "newest" else value
            keys.append(np.where(time.is_null().to_numpy(zero_copy_only=False), ~np.uint64(0), value))
        elif name == "id":
            keys += [row["id"][:, 0], row["id"][:, 1]]
    keys += [row["hash"][:, 0], row["hash"][:, 1]]
    return np.stack(keys, axis=1)


def policy_width(config: DedupConfig) -> int:
    """Words of a policy key."""
    return int(policy_keys(_NONE, np.zeros(0, ROW), config).shape[1])


_NONE = pa.record_batch(
    {
        "source": pa.array([], pa.string()),
        "meta": pa.array([], pa.string()),
        "timestamp": pa.array([], pa.timestamp("ms", tz="UTC")),
    }
)


def _ordered(values: npt.NDArray[Any]) -> Words:
    """int64 or float64 (n,) as uint64 that sort alike."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    if values.dtype == np.float64:
        return np.where(bits & SIGN, ~bits, bits | SIGN)
    return bits ^ SIGN


def _numbers(values: list[Any]) -> npt.NDArray[np.float64]:
    """What is a number, and 0 for the rest."""
    numbers = np.array([float(v) if isinstance(v, int | float) else 0.0 for v in values], np.float64)
    return np.where(np.isnan(numbers), 0.0, numbers) + 0.0  # + 0.0: there is no -0.0


def band_keys(sig: npt.NDArray[np.uint32], bands: int) -> Words:
    """(N, bands) 64-bit keys: the rows of each band, mixed. Two different bands share a key once in 2**64."""
    parts = sig.reshape(len(sig), bands, -1)
    key = np.full(parts.shape[:2], 0x9E3779B97F4A7C15, np.uint64)
    for r in range(parts.shape[2]):
        key = (key ^ parts[:, :, r]) * np.uint64(0xBF58476D1CE4E5B9)  # mod 2**64
        key ^= key >> np.uint64(32)
    return key


@dataclass(frozen=True)
class Part:
    """The files of one part's rows: of the input, or of an index of an earlier corpus."""

    stem: Path  # .../part-00007
    first: int  # number of its first document
    count: int
    sources: tuple[str, ...]
    is_indexed: bool
    _maps: dict[str, Any] = field(default_factory=dict, repr=False)

    def map(self, suffix: str, dtype: Any, shape: tuple[int, ...] = (-1,)) -> npt.NDArray[Any]:
        """One of its files, mapped once."""
        if suffix not in self._maps:
            path = self.stem.with_name(self.stem.name + suffix)
            self._maps[suffix] = np.load(path, mmap_mode="r") if suffix.endswith(".npy") else raw(path, dtype, shape)
        found: npt.NDArray[Any] = self._maps[suffix]
        return found

    @property
    def rows(self) -> npt.NDArray[Any]:
        """(count,) of ROW."""
        return self.map(".rows", ROW)

    def origin(self, row: int) -> str:
        """The origin of one document."""
        begin, end = self.map(".origins.npy", np.int64)[row : row + 2]
        return self.map(".origins", np.uint8)[begin:end].tobytes().decode("utf-8", "replace")


@dataclass(frozen=True)
class Parts:
    """All parts, those of indexes first. Documents are numbered in this order."""

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, i: int) -> Part:
        return self.parts[i]

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    @cached_property
    def starts(self) -> Ints:
        """(parts + 1,) number of the first document of each."""
        return np.array([*(p.first for p in self.parts), self.num_documents], np.int64)

    @cached_property
    def num_documents(self) -> int:
        """Of the indexes and the input."""
        return sum(p.count for p in self.parts)

    @cached_property
    def num_indexed(self) -> int:
        """Documents of the indexes: the numbers below are theirs."""
        return sum(p.count for p in self.parts if p.is_indexed)

    def part_of(self, documents: npt.NDArray[Any]) -> Ints:
        """The part of each document."""
        part: Ints = np.searchsorted(self.starts, documents, side="right") - 1
        return part

    def values(self, documents: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """A field of the rows of some documents."""
        out = np.empty((len(documents), *ROW[name].shape), ROW[name].base)
        part = self.part_of(documents)
        for p in np.unique(part).tolist():
            here = np.flatnonzero(part == p)
            out[here] = self.parts[p].rows[name][documents[here].astype(np.int64) - self.parts[p].first]
        return out

    def names(self, documents: npt.NDArray[Any]) -> list[tuple[str, str, str]]:
        """doc_id in hex, source and origin of each document."""
        ids = self.values(documents, "id").astype(">u8").tobytes().hex()
        sources, part = self.values(documents, "source").tolist(), self.part_of(documents).tolist()
        origins = [self.parts[p].origin(d - self.parts[p].first) for p, d in zip(part, documents.tolist())]
        return [
            (ids[32 * i : 32 * i + 32], self.parts[p].sources[s], origin)
            for i, (p, s, origin) in enumerate(zip(part, sources, origins))
        ]

    def name(self, document: int) -> tuple[str, str, str]:
        """doc_id in hex, source and origin."""
        return self.names(np.array([document], np.uint64))[0]


def check_scopes(tables: list[dict[str, int]]) -> None:
    """Raise unless every key stands for one source or dump only."""
    names: dict[int, str] = {}
    for table in tables:
        for name, key in table.items():
            if names.setdefault(key, name) != name:
                raise FormatError(
                    f"dedup: the scopes {name!r} and {names[key]!r} share a 64-bit key; rename one of them"
                )
