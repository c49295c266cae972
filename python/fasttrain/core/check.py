"""Argument checks for the faces of native ops. Every message: op, argument, what was wanted, what came."""

from typing import Any

import numpy as np
import numpy.typing as npt


def array(op: str, name: str, value: Any, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Raise unless `value` is a C-contiguous ndarray of exactly `dtype` and `shape` (None = any size)."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{op}: {name} must be a numpy array, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{op}: {name} must have dtype {np.dtype(dtype)}, got {value.dtype}")
    same = len(shape) == value.ndim and all(w in (None, g) for w, g in zip(shape, value.shape))
    if not same:
        raise ValueError(f"{op}: {name} must have shape {shape}, got {value.shape}")
    if not value.flags.c_contiguous:
        raise ValueError(f"{op}: {name} must be C-contiguous; call np.ascontiguousarray({name}) first")


def offsets(op: str, name: str, value: Any, total: int) -> None:
    """Raise unless `value` is (N+1,) int64, never falls, starts at >= 0 and ends at <= total."""
    array(op, name, value, np.int64, (None,))
    if len(value) == 0:
        raise ValueError(f"{op}: {name} must hold at least one offset, got none")
    if value[0] < 0 or value[-1] > total or bool((np.diff(value) < 0).any()):
        raise ValueError(f"{op}: {name} must rise from 0 to at most {total}, got {value}")
