"""Which implementation of an op runs. FASTTRAIN_IMPL names one; a name that cannot run is an error."""

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

log = logging.getLogger("fasttrain.backend")


@cache
def _native() -> Any:
    # An absent extension means "run the references". A present one that fails to load must say so.
    return importlib.import_module("fasttrain._native") if importlib.util.find_spec("fasttrain._native") else None


def is_native() -> bool:
    """Whether the compiled module is installed."""
    return _native() is not None


def is_cuda_built() -> bool:
    """Whether the compiled module holds CUDA implementations."""
    return is_native() and bool(_native().cuda_built())


@cache
def implementations(op: str) -> tuple[str, ...]:
    """Names that can run here, best first; "reference" is always last."""
    if _native() is None:
        return ("reference",)
    return (*getattr(_native(), f"{op}_impls")(), "reference")


def choose(op: str, impl: str | None) -> str:
    """The named implementation, else the one FASTTRAIN_IMPL names, else the best that runs here."""
    names = implementations(op)
    wanted = impl or os.environ.get("FASTTRAIN_IMPL") or names[0]
    if wanted not in names:
        raise ValueError(f"{op}: impl {wanted!r} cannot run here; choose from {list(names)}")
    _log_once(op, wanted)
    return wanted


@cache
def _log_once(op: str, impl: str) -> None:
    log.debug("%s runs on %s", op, impl)


def native(op: str) -> Callable[..., Any]:
    """The compiled entry of an op. Only its face calls it, with arguments already checked."""
    entry: Callable[..., Any] = getattr(_native(), op)
    return entry


@cache
def constant(name: str) -> int:
    """A number that the compiled module exports."""
    return int(getattr(_native(), name))


def num_threads() -> int:
    """Threads a native op may use: FASTTRAIN_THREADS or OMP_NUM_THREADS, else this process's cores (its affinity)."""
    for name in ("FASTTRAIN_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
