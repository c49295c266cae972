"""Torch tensors over a comm.Group: host memory goes to MPI as it lies, other devices and half precision are staged.

Every second of it is counted (timed.py), so that a run can print its exposed communication, and what of it is waiting.
"""

from dataclasses import dataclass

import torch

from fasttrain.comm.group import Group, Op, Pending
from fasttrain.monitor.spans import MOVING, Spans
from fasttrain.parallel.timed import timed

_HALF = (torch.bfloat16, torch.float16)  # numpy has no bfloat16 and MPI reduces neither: sums are made in float32


def is_direct(x: torch.Tensor) -> bool:
    """Whether MPI can work on the tensor's own memory."""
    return x.device.type == "cpu" and x.dtype not in _HALF and x.is_contiguous()


def staged(x: torch.Tensor) -> torch.Tensor:
    """A contiguous CPU tensor with the values of `x`; halves become float32."""
    return x.detach().to("cpu", torch.float32 if x.dtype in _HALF else x.dtype).contiguous()


class Wire:
    """One group, timed."""

    def __init__(self, group: Group, spans: Spans) -> None:
        self.group, self.spans = timed(group, spans), spans

    @property
    def rank(self) -> int:
        return self.group.rank

    @property
    def size(self) -> int:
        return self.group.size

    def meet(self) -> None:
        """Wait for every rank of the group."""
        self.group.barrier()

    def all_reduce_(self, x: torch.Tensor, op: Op = "sum") -> torch.Tensor:
        """Reduce `x` over the ranks in place, any float or integer dtype, any device; return it."""
        if self.size == 1:
            return x
        host = self._host(x)
        self.group.allreduce_(host.numpy(), op)
        if not is_direct(x):
            with self.spans(MOVING):
                x.detach().copy_(host)
        return x

    def start_all_reduce_(self, x: torch.Tensor) -> "Reducing":
        """Start `all_reduce_` (sum); `x` must not be touched until `wait`."""
        host = self._host(x)
        return Reducing(self.group.iallreduce_(host.numpy()), host, x, self.spans)

    def isend(self, x: torch.Tensor, dst: int, tag: int) -> "Sending":
        """Start sending `x`, without a copy where MPI can read it: it must not change until `wait`."""
        host = self._host(x)
        return Sending(self.group.isend(host.numpy(), dst, tag), host)

    def recv(self, like: torch.Tensor, src: int, tag: int) -> torch.Tensor:
        """Receive a tensor of the shape, dtype and device of `like`, whose values are not read."""
        host = torch.empty(like.shape, dtype=torch.float32 if like.dtype in _HALF else like.dtype)
        self.group.recv_(host.numpy(), src, tag)
        if host.device == like.device and host.dtype == like.dtype:
            return host
        with self.spans(MOVING):
            return host.to(like.device, like.dtype)

    def _host(self, x: torch.Tensor) -> torch.Tensor:
        if is_direct(x):
            return x.detach()
        with self.spans(MOVING):
            return staged(x)


@dataclass(frozen=True)
class Sending:
    """A message under way and the memory it is read from."""

    pending: Pending
    host: torch.Tensor

    def wait(self) -> None:
        """Return when the memory may change."""
        self.pending.wait()


@dataclass(frozen=True)
class Reducing(Sending):
    """A reduction under way, of which `target` gets the result."""

    target: torch.Tensor
    spans: Spans

    def test(self) -> bool:
        """Drive it on and say whether it is complete; `wait` is still to be called."""
        return self.pending.test()

    def wait(self) -> None:
        """Return when `target` holds the sum."""
        super().wait()
        if not is_direct(self.target):
            with self.spans(MOVING):
                self.target.copy_(self.host)
