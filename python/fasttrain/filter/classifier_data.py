"""Examples for a classifier: texts from files or finished stages, a held-out part, and how well it does."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from fasttrain.core.errors import FormatError
from fasttrain.formats.document import iter_documents
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128

_BUCKETS = 10_000


def read_texts(path: Path, field: str = "text") -> Iterator[str]:
    """Texts of .jsonl or .txt (one a line; .gz, .zst), of .parquet with a column `text`, or of a folder of such files.

    The folder of a finished stage is read by its documents; ledgers are left out.
    Raises: FormatError: a file that cannot be read, is of no known kind, or a record without text.
    """
    if path.is_dir():
        found = [p for p in sorted(path.rglob("*")) if _kind(p) and not p.name.endswith(".ledger.parquet")]
        if not found:
            raise FormatError(f"classifier: {path} holds no .jsonl, .txt or .parquet files")
        for file in found:
            yield from read_texts(file, field)
        return
    kind = _kind(path)
    try:
        if kind == ".parquet":
            for batch in iter_documents(path, [field]):
                yield from (text for text in batch.column(field).to_pylist() if text)
        elif kind:
            with _opened(path) as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield _record(path, number, line, field) if kind == ".jsonl" else line.rstrip("\n")
        else:
            raise FormatError(f"classifier: {path} must be .jsonl, .txt (with .gz or .zst), .parquet or a folder")
    except (OSError, EOFError, UnicodeDecodeError, zstandard.ZstdError, KeyError) as error:
        raise FormatError(f"classifier: {path} cannot be read: {error}") from None


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return next((k for k in (".jsonl", ".txt", ".parquet") if name.endswith(k)), "")


def _opened(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if path.suffix == ".zst":
        return io.TextIOWrapper(zstandard.open(path, "rb"), encoding="utf-8")
    return path.open(encoding="utf-8")


def _record(path: Path, number: int, line: str, field: str) -> str:
    try:
        text = json.loads(line)[field]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise FormatError(f"classifier: {path}:{number} must be a JSON object with a text in {field!r}")
    return text


def split(texts: TextColumn, held_out: float) -> npt.NDArray[np.bool_]:
    """(N,) Which texts are held out: by their hash, so that a text is always on the same side, and its copies too."""
    bucket = hash128(texts)[:, 0] % np.uint64(_BUCKETS)
    return bucket < np.uint64(round(held_out * _BUCKETS))


def chosen(texts: TextColumn, which: npt.NDArray[np.bool_]) -> TextColumn:
    """Some of the texts."""
    return columns.from_texts([texts[i] for i in np.flatnonzero(which).tolist()])


def auc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a positive text scores above a negative one; equal scores count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]
    p, n = int(positive.sum()), int((~positive).sum())
    if not p or not n:
        raise ValueError("classifier: positive and negative texts are needed, got one kind")
    return float((rank[positive].sum() - p * (p + 1) / 2) / (p * n))


def precision_recall(
    scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_], threshold: float
) -> tuple[float, float]:
    """Positive texts among those that reach the threshold (1 when none does); positive texts that reach it."""
    kept = scores >= threshold
    return (float(positive[kept].mean()) if kept.any() else 1.0), float(kept[positive].mean())
