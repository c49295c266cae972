"""A group whose calls are timed, what waits for other ranks apart from what moves bytes.

A rank that comes early to a collective waits in it for the last one, and MPI does not tell how long. So ranks meet
first: the time in a barrier is the wait ("comm_wait" of monitor/spans.py), and what the call behind it takes is its own
("comm"). A message is waited for until its head has come. What a sender waits for its receiver is "comm": it cannot be
told from the sending.
Cost: a barrier a collective, 0.3 us between two ranks that come at once (Open MPI 5.0.11, one machine).
"""

from dataclasses import replace
from typing import Any

from fasttrain.comm.group import Array, Group, Op, Pending
from fasttrain.comm.mesh import Mesh
from fasttrain.monitor.spans import MOVING, WAITING, Spans


class TimedGroup(Group):
    """`group`, with the seconds of its calls in `spans`."""

    def __init__(self, group: Group, spans: Spans) -> None:
        self._group, self._spans = group, spans
        self.rank, self.size = group.rank, group.size

    def barrier(self) -> None:
        with self._spans(WAITING):
            self._group.barrier()

    def bcast(self, obj: Any, root: int = 0) -> Any:
        self.barrier()
        with self._spans(MOVING):
            return self._group.bcast(obj, root)

    def allgather(self, obj: Any) -> list[Any]:
        self.barrier()
        with self._spans(MOVING):
            return self._group.allgather(obj)

    def allreduce_(self, array: Array, op: Op = "sum") -> None:
        self.barrier()
        with self._spans(MOVING):
            self._group.allreduce_(array, op)

    def iallreduce_(self, array: Array, op: Op = "sum") -> Pending:
        """As a group does; `barrier` behind the last one that is started tells what is waited."""
        with self._spans(MOVING):
            return _TimedPending(self._group.iallreduce_(array, op), self._spans)

    def bcast_(self, array: Array, root: int = 0) -> None:
        self.barrier()
        with self._spans(MOVING):
            self._group.bcast_(array, root)

    def allgather_array(self, array: Array) -> Array:
        self.barrier()
        with self._spans(MOVING):
            return self._group.allgather_array(array)

    def isend(self, array: Array, dst: int, tag: int = 0) -> Pending:
        with self._spans(MOVING):
            return _TimedPending(self._group.isend(array, dst, tag), self._spans)

    def probe(self, src: int, tag: int = 0) -> None:
        with self._spans(WAITING):
            self._group.probe(src, tag)

    def recv_(self, array: Array, src: int, tag: int = 0) -> None:
        self.probe(src, tag)
        with self._spans(MOVING):
            self._group.recv_(array, src, tag)

    def split(self, color: int, key: int) -> Group:
        return timed(self._group.split(color, key), self._spans)


class _TimedPending(Pending):
    def __init__(self, pending: Pending, spans: Spans) -> None:
        self._pending, self._spans = pending, spans

    def wait(self) -> None:
        with self._spans(MOVING):
            self._pending.wait()

    def test(self) -> bool:
        with self._spans(MOVING):
            return self._pending.test()


def timed(group: Group, spans: Spans) -> Group:
    """The group, timed; one of a single rank, which never waits, and one that is timed already as it is."""
    return group if group.size == 1 or isinstance(group, TimedGroup) else TimedGroup(group, spans)


def timed_mesh(mesh: Mesh, spans: Spans) -> Mesh:
    """The mesh with every group timed."""
    axes = {name: timed(getattr(mesh, name), spans) for name in ("world", "dp", "tp", "pp", "stage")}
    return replace(mesh, **axes)
