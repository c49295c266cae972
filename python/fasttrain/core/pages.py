"""Large tensors outside the heap, where what comes and goes in a training step leaves holes that nothing fills."""

import math
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch.utils import deterministic

from fasttrain.core import backend, malloc

ARENA_BYTES = 64 << 10
MAPPED_BYTES = 64 << 20  # below, the faults would cost an elementwise op of 32 MB tensors half again its time
_is_on = os.environ.get("FASTTRAIN_ARENA") != "0"  # where it is off a sanitizer sees where each tensor ends


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """torch.empty, on a CPU with memory of three kinds.

    From ARENA_BYTES on it is a block of the arena (csrc/core/arena.h), which keeps its pages, and where the hole that a
    block leaves is filled by the next one of its size. From MAPPED_BYTES on it is a mapping of its own on huge pages,
    given back when freed, for which the arena gives up as much of what it has free: the faults cost what zeros cost, 80
    us for 2 MB. Else, or where the system has none, torch's.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes < ARENA_BYTES or not _is_on or torch.device(device).type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    tensor = mapped_zeros(shape, dtype)
    if tensor is None:
        block = backend.native("arena_empty")(num_bytes) if num_bytes < MAPPED_BYTES else None
        tensor = torch.empty(shape, dtype=dtype) if block is None else torch.from_numpy(block).view(dtype).view(shape)
    if torch.are_deterministic_algorithms_enabled() and deterministic.fill_uninitialized_memory:  # type: ignore[attr-defined]
        tensor.fill_(math.nan if dtype.is_floating_point else torch.iinfo(dtype).max)  # as torch does
    return tensor


def new_empty(x: torch.Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> torch.Tensor:
    """`empty` on the device of `x` and in its dtype when None; of a fake tensor (torch.compile's) a fake one."""
    dtype = dtype or x.dtype
    is_real = type(x) in (torch.Tensor, torch.nn.Parameter)
    return empty(tuple(shape), dtype, x.device) if is_real else x.new_empty(shape, dtype=dtype)


def empty_like(x: torch.Tensor) -> torch.Tensor:
    """`new_empty` of the shape of `x`, which is contiguous."""
    return torch.empty_like(x) if x.nbytes < ARENA_BYTES else new_empty(x, x.shape)  # the first is the faster one


def mapped_zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor | None:
    """Zeros that no pass has written: a mapping of its own, which the system fills where it is touched.

    None below MAPPED_BYTES, on a card, and where `empty` makes no mappings.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes < MAPPED_BYTES or not _is_on or torch.device(device).type != "cpu" or not _has_huge_pages():
        return None
    backend.native("arena_trim")(num_bytes)
    mapping = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapping.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(mapping, dtype=torch.uint8).view(dtype).view(shape)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """`empty`, filled with 0."""
    tensor = mapped_zeros(shape, dtype, device)
    return empty(shape, dtype, device).zero_() if tensor is None else tensor


def give_back() -> None:
    """Return to the system what the arena and the heap hold free, for whoever has done with work of other shapes."""
    if _is_on and backend.is_native():
        backend.native("arena_trim")(1 << 62)
    malloc.give_back()


@contextmanager
def torchs() -> Iterator[None]:
    """In here `empty` is torch.empty, whose memory torch's profiler sees."""
    global _is_on
    before, _is_on = _is_on, False
    try:
        yield
    finally:
        _is_on = before


@cache
def _has_huge_pages() -> bool:
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:  # no Linux, or one built without them
        return False
