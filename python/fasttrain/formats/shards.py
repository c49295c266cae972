"""Token shards: one folder a source, flat little-endian uint16 (vocabulary <= 65,536) or uint32, and document offsets.

<source>/tokens.bin    the documents' tokens, one after another, each document followed by the end-of-text token
<source>/offsets.bin   int64 (num_docs + 1): document i is tokens[offsets[i]:offsets[i + 1]], its end token included
<source>/doc_ids.bin   16 bytes a document
<source>/shard.json    dtype, counts, the tokenizer's fingerprint, sha256 of the three files; written last
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic

FORMAT = 1


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One source's tokens, memory-mapped."""

    source: str
    tokens: npt.NDArray[Any]  # (T,) uint16 or uint32
    offsets: npt.NDArray[np.int64]  # (N+1,)
    doc_ids: npt.NDArray[np.uint8]  # (N, 16)
    num_bytes: int  # UTF-8 bytes of the documents' text
    fingerprint: str

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def num_docs(self) -> int:
        return len(self.offsets) - 1


def write_shard(
    folder: Path,
    *,
    source: str,
    vocab_size: int,
    tokenizer_fingerprint: str,
    pieces: Iterable[tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.uint8], int]],
) -> dict[str, Any]:
    """Write one source's shard from (ids flat, offsets (n+1,), doc_ids (n, 16), text bytes); return its shard.json.

    The end-of-text token is already in the ids. Memory is one piece at a time. Raises FormatError on a full disk.
    """
    dtype = token_dtype(vocab_size)
    ends: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
    ids: list[npt.NDArray[np.uint8]] = []
    total, num_bytes = 0, 0
    with atomic.replacing(folder / "tokens.bin") as path, path.open("wb") as out:
        for flat, offsets, doc_ids, text_bytes in pieces:
            out.write(np.ascontiguousarray(flat, dtype=dtype).data)
            ends.append(offsets[1:] - offsets[0] + total)
            ids.append(doc_ids)
            total += len(flat)
            num_bytes += text_bytes
    offsets_all = np.concatenate(ends)
    atomic.write_bytes(folder / "offsets.bin", offsets_all.astype("<i8").tobytes())
    atomic.write_bytes(folder / "doc_ids.bin", np.concatenate([*ids, np.zeros((0, 16), np.uint8)]).tobytes())
    names = ("tokens.bin", "offsets.bin", "doc_ids.bin")
    info = {
        "format": FORMAT,
        "source": source,
        "dtype": dtype.str,
        "vocab_size": vocab_size,
        "num_tokens": total,
        "num_docs": len(offsets_all) - 1,
        "num_bytes": num_bytes,
        "tokenizer_fingerprint": tokenizer_fingerprint,
        "sha256": {name: atomic.sha256(folder / name) for name in names},
    }
    atomic.write_json(folder / "shard.json", info)
    return info


def open_shard(folder: Path) -> Shard:
    """Map a shard. Raises FormatError when a file is missing, cut, or not of this format."""
    info = atomic.read_json(folder / "shard.json")
    if info.get("format") != FORMAT:
        raise FormatError(f"{folder}: token shard format must be {FORMAT}, got {info.get('format')}; tokenise again")
    dtype, num_docs, num_tokens = np.dtype(info["dtype"]), info["num_docs"], info["num_tokens"]
    wanted = {
        "tokens.bin": num_tokens * dtype.itemsize,
        "offsets.bin": 8 * (num_docs + 1),
        "doc_ids.bin": 16 * num_docs,
    }
    for name, size in wanted.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise FormatError(f"{path}: must hold {size} bytes; tokenise again")
    return Shard(
        source=info["source"],
        tokens=_map(folder / "tokens.bin", dtype),
        offsets=_map(folder / "offsets.bin", np.dtype("<i8")),
        doc_ids=_map(folder / "doc_ids.bin", np.dtype(np.uint8)).reshape(-1, 16),
        num_bytes=info["num_bytes"],
        fingerprint="".join(info["sha256"][n] for n in sorted(wanted)),
    )


def open_shards(folder: Path) -> dict[str, Shard]:
    """Every source's shard below `folder`, by source, in name order."""
    shards = [open_shard(path.parent) for path in sorted(folder.glob("*/shard.json"))]
    return {s.source: s for s in shards}


def _map(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")
