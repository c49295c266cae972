"""Batches made ahead by a thread while a step computes.

A thread and not a process: Open MPI is not fork-safe, and DataLoader workers under mpirun hang or crash (pytorch
#13787, horovod #1102). The thread copies token ranges with numpy and never calls MPI, so any MPI will do.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """`make(index)` ahead of its need. What comes out is what `make` gives, whatever was made ahead."""

    def __init__(self, make: Callable[[int], T], *, depth: int) -> None:
        """Args: depth: how many are made ahead; 0: no thread is started."""
        self.depth, self._make = depth, make
        self._pending: dict[int, Future[T]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if depth else None

    def get(self, index: int, following: Sequence[int] = ()) -> T:
        """Return `make(index)`, raising what it raises, and start on `following` (the first `depth` of them)."""
        future, following = self._pending.pop(index, None), following[: self.depth]
        for stale in self._pending.keys() - set(following):  # a rollback went another way
            self._pending.pop(stale).cancel()
        value = self._make(index) if future is None else future.result()
        if self._pool is not None:
            for i in following:
                if i not in self._pending:
                    self._pending[i] = self._pool.submit(self._make, i)
        return value

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
