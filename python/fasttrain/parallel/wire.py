"""Torch tensors over a comm.Group: host memory goes to MPI as it lies, other devices and half precision are staged.

Every second that a rank waits for others is counted in a `Clock`, so that a run can print its exposed communication.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fasttrain.comm.group import Group, Op, Pending

_HALF = (torch.bfloat16, torch.float16)  # numpy has no bfloat16 and MPI reduces neither: sums are made in float32


@dataclass
class Clock:
    """Seconds spent inside communication calls since the last `take`."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def take(self) -> float:
        """Return the seconds and start again at zero."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def is_direct(x: torch.Tensor) -> bool:
    """Whether MPI can work on the tensor's own memory."""
    return x.device.type == "cpu" and x.dtype not in _HALF and x.is_contiguous()


def staged(x: torch.Tensor) -> torch.Tensor:
    """A contiguous CPU tensor with the values of `x`; halves become float32."""
    return x.detach().to("cpu", torch.float32 if x.dtype in _HALF else x.dtype).contiguous()


class Wire:
    """One group, one clock."""

    def __init__(self, group: Group, clock: Clock) -> None:
        self.group, self.clock = group, clock

    @property
    def rank(self) -> int:
        return self.group.rank

    @property
    def size(self) -> int:
        return self.group.size

    def all_reduce_(self, x: torch.Tensor, op: Op = "sum") -> torch.Tensor:
        """Reduce `x` over the ranks in place, any float or integer dtype, any device; return it."""
        if self.size == 1:
            return x
        with self.clock.running():
            host = x.detach() if is_direct(x) else staged(x)
            self.group.allreduce_(host.numpy(), op)
            if not is_direct(x):
                x.detach().copy_(host)
        return x

    def start_all_reduce_(self, x: torch.Tensor) -> "Reducing":
        """Start `all_reduce_` (sum); `x` must not be touched until `wait`."""
        with self.clock.running():
            host = x.detach() if is_direct(x) else staged(x)
            return Reducing(self.group.iallreduce_(host.numpy()), host, self.clock, x)

    def isend(self, x: torch.Tensor, dst: int, tag: int) -> "Sending":
        """Start sending `x`, without a copy where MPI can read it: it must not change until `wait`."""
        with self.clock.running():
            host = x.detach() if is_direct(x) else staged(x)
            return Sending(self.group.isend(host.numpy(), dst, tag), host, self.clock)

    def recv(self, like: torch.Tensor, src: int, tag: int) -> torch.Tensor:
        """Receive a tensor of the shape, dtype and device of `like`, whose values are not read."""
        with self.clock.running():
            host = torch.empty(like.shape, dtype=torch.float32 if like.dtype in _HALF else like.dtype)
            self.group.recv_(host.numpy(), src, tag)
            return host.to(like.device, like.dtype)


@dataclass(frozen=True)
class Sending:
    """A message under way and the memory it is read from."""

    pending: Pending
    host: torch.Tensor
    clock: Clock

    def wait(self) -> None:
        """Return when the memory may change."""
        with self.clock.running():
            self.pending.wait()


@dataclass(frozen=True)
class Reducing(Sending):
    """A reduction under way, of which `target` gets the result."""

    target: torch.Tensor

    def test(self) -> bool:
        """Drive it on and say whether it is complete; `wait` is still to be called."""
        with self.clock.running():
            return self.pending.test()

    def wait(self) -> None:
        """Return when `target` holds the sum."""
        super().wait()
        if not is_direct(self.target):
            self.target.copy_(self.host)
