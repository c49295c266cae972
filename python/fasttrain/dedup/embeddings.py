"""Embeddings that the user brings, on a grid on which their products are exact.

A vector is scaled to length 1 and rounded to multiples of 2**-24 (`FINE`, int32 on disk) and, for the search, to
multiples of 1 / `coarse(D)` (float32). By Cauchy and Schwarz no partial sum of a product of two coarse vectors exceeds
2**24, so a float32 GEMM of them is exact in whatever order it adds: clusters and pairs do not depend on the BLAS, its
threads or the instruction set. The same holds of fine vectors in float64, which give the cosine that decides.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.dedup.config import SemanticConfig
from fasttrain.dedup.exchange import Words
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

FINE = 1 << 24
Fine = npt.NDArray[np.int32]
Coarse = npt.NDArray[np.float32]
BLOCK = 4096  # vectors that are converted at once


def coarse(width: int) -> int:
    """Steps of the coarse grid in a unit vector of so many components: (it + sqrt(D) / 2)**2 <= 2**24."""
    return int(4096 - math.sqrt(width) / 2)


def slack(width: int) -> float:
    """How far the cosine of two coarse vectors may lie from that of the vectors themselves, at the most."""
    return math.sqrt(width) / coarse(width) + width / (4 * coarse(width) ** 2) + 1e-6


def files(config: SemanticConfig, base: Path) -> list[Path]:
    """The Parquet files, in order of their names. Raises ConfigError: there are none."""
    path = base / config.embeddings
    found = [path] if path.is_file() else sorted(path.glob("*.parquet")) if path.is_dir() else []
    if not found:
        pattern = Path(config.embeddings)
        root = Path(pattern.anchor) if pattern.is_absolute() else base
        found = sorted(p for p in root.glob(str(pattern.relative_to(pattern.anchor))) if p.is_file())
    if not found:
        raise ConfigError(f"dedup.semantic.embeddings: no file matches {path}; name a Parquet file, a folder or a glob")
    return found


def row_groups(paths: list[Path], config: SemanticConfig) -> list[tuple[Path, int]]:
    """(file, number of the row group), in order. Raises FormatError: a file is damaged or lacks a column."""
    groups = []
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                names, count = file.schema_arrow.names, file.num_row_groups
        except (OSError, pa.ArrowException) as error:
            raise FormatError(f"{path}: not a readable Parquet file ({error})") from error
        for name in (config.key_column, config.column):
            if name not in names:
                raise FormatError(f"{path}: must have the column {name!r} (dedup.semantic), got {names}")
        groups += [(path, g) for g in range(count)]
    return groups


def read(path: Path, group: int, config: SemanticConfig) -> Iterator[tuple[Words, Fine, int]]:
    """Key hashes (n, 2) and vectors (n, D) of a row group, some rows at a time, and how many rows were no vectors."""
    with pq.ParquetFile(path) as file:
        wanted = [config.key_column, config.column]
        for batch in file.iter_batches(BLOCK, row_groups=[group], columns=wanted):
            vectors, keys = batch.column(config.column), batch.column(config.key_column)
            valid = pc.and_(vectors.is_valid(), keys.is_valid())
            vectors, keys = vectors.filter(valid), keys.filter(valid)
            if not (pa.types.is_list(vectors.type) or pa.types.is_large_list(vectors.type)
                    or pa.types.is_fixed_size_list(vectors.type)):  # fmt: skip
                raise FormatError(f"{path}: column {config.column!r} must hold lists of floats, got {vectors.type}")
            sizes = np.unique(pc.list_value_length(vectors).to_numpy(zero_copy_only=False))
            if len(sizes) > 1:
                raise FormatError(f"{path}: vectors must have one length, got {sizes.tolist()}")
            width = int(sizes[0]) if len(sizes) else 0
            flat = pc.list_flatten(vectors).cast(pa.float64()).to_numpy(zero_copy_only=False)
            values, good = normalised(flat.reshape(-1, width) if width else np.empty((0, 0)))
            yield key_hashes(keys)[good], values[good], len(batch) - int(good.sum())


def normalised(vectors: npt.NDArray[np.float64]) -> tuple[Fine, npt.NDArray[np.bool_]]:
    """Vectors on the fine grid, and which have a direction (finite, not zero)."""
    if vectors.size == 0:
        return np.zeros(vectors.shape, np.int32), np.ones(len(vectors), bool)
    # Added one after another: a sum in blocks would round as the instruction set has it.
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.add.accumulate(vectors * vectors, axis=1)[:, -1])
        good = np.isfinite(norm) & (norm > 0)
        unit = vectors / np.where(good, norm, 1)[:, None]
    return np.rint(np.where(good[:, None], unit, 0) * FINE).astype(np.int32), good


def on_coarse_grid(fine: Fine) -> Coarse:
    """Fine vectors rounded to the coarse grid."""
    grid: Coarse = np.rint(fine * (coarse(fine.shape[1]) / FINE)).astype(np.float32)
    return grid


def cosine(a: Fine, b: Fine) -> npt.NDArray[np.float64]:
    """The cosine of each row of `a` with the same row of `b`: exact sums, three roundings."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    dot, xx, yy = (np.einsum("ij,ij->i", p, q) for p, q in ((x, y), (x, x), (y, y)))
    found: npt.NDArray[np.float64] = dot / np.sqrt(xx * yy)
    return found


def key_hashes(keys: Any) -> Words:
    """(n, 2) hashes of keys: strings, or doc_ids of 16 bytes, which count as their hex."""
    if pa.types.is_binary(keys.type) or pa.types.is_fixed_size_binary(keys.type) or pa.types.is_large_binary(keys.type):
        return hash128(columns.from_texts([k.hex() for k in keys.to_pylist()]))
    return hash128(columns.from_arrow(keys))
