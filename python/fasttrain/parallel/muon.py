"""Muon over the ranks of a stage: each matrix is made orthogonal once, whole, by one of them.

    momentum, each rank its slice (n, m / tp)  --fp32, within the replica-->  owner: whole matrix (n, m) --products-->
    --in the products' dtype, each rank its slice-->  param = param keep - update rate, each rank its slice

Replicas hold the same gradients, so that only the owner's own sends it slices; the update is sent as the products left
it, bf16 or fp32, and nothing is rounded on the way: every rank steps by the same bits, those of one process that has
the same gradients. A rank sends and receives of all the updates together what its own slices take, the least there is
to exchange; that of one matrix travels while the next ones are multiplied.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fasttrain.optim.muon import Muon, orthogonalize
from fasttrain.optim.muon_work import assign
from fasttrain.parallel.plan import Cut, Plan
from fasttrain.parallel.wire import Sending, Wire


class SharedMuon(Muon):
    """Muon of which every rank of a stage holds a slice of each matrix, and does its part of the products.

    Every rank must step, with gradients that are whole sums over the replicas; their memory is used up.
    """

    _takes_grads = True

    def __init__(
        self, groups: Iterable[dict[str, Any]], names: Sequence[str], *, plan: Plan, wire: Wire, **keys: Any
    ) -> None:
        """Args: names: of the groups' parameters, in order. wire: over `Mesh.stage`."""
        self._wire, self._tp = wire, plan.mesh.tp
        self._cuts: list[list[Cut]] = [[plan.cut(name, rank) for rank in range(self._tp.size)] for name in names]
        self._owned = assign([cuts[0].shape for cuts in self._cuts], wire.size)
        super().__init__([{**group, "shape": cuts[0].shape} for group, cuts in zip(groups, self._cuts)], **keys)

    def updates(self, means: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor]]:
        """Make the updates of this rank's matrices and exchange them, slice by slice."""
        if self._wire.size == 1:
            yield from super().updates(means)
            return
        mine = dict(means)
        slices = self._send_slices(mine)
        sent: list[Sending] = []
        rank, size = self._wire.rank, self._wire.size
        for turn in range(max(map(len, self._owned)) + 1):
            before, sent = sent, []
            if turn < len(self._owned[rank]):
                i = self._owned[rank][turn]
                parts = self._orthogonal(i, mine[i])
                sent = [self._wire.isend(_bits(parts[r % len(parts)]), r, 2 * i + 1) for r in _others(rank, size)]
                yield i, parts[self._tp.rank]
            for owner in _others(rank, size):  # what they made in the turn before this one
                if turn and turn <= len(self._owned[owner]):
                    i = self._owned[owner][turn - 1]
                    update = torch.empty(mine[i].shape, dtype=self._dtype, device=mine[i].device)
                    _bits(update).copy_(self._wire.recv(_bits(update), owner, 2 * i + 1))
                    if i in slices:
                        slices.pop(i).wait()  # the caller may clear the gradient's memory
                    yield i, update
            for sending in before:
                sending.wait()

    def _send_slices(self, mine: dict[int, Tensor]) -> dict[int, Sending]:
        """Send this rank's slices to their owners in this replica."""
        first = self._wire.rank - self._tp.rank
        owners = {i: rank for rank in range(first, first + self._tp.size) for i in self._owned[rank]}
        return {i: self._wire.isend(mine[i], owner, 2 * i) for i, owner in owners.items() if owner != self._wire.rank}

    def _orthogonal(self, i: int, mine: Tensor) -> list[Tensor]:
        """Each tensor-parallel rank's slice of a matrix's update."""
        cuts = self._cuts[i]
        if len(cuts) == 1:
            return [orthogonalize(mine, dtype=self._dtype).contiguous()]
        first = self._wire.rank - self._tp.rank
        whole = torch.empty(cuts[0].shape, dtype=mine.dtype, device=mine.device)
        for rank, cut in enumerate(cuts):
            part = cut.of(whole)
            part.copy_(mine if rank == self._tp.rank else self._wire.recv(part, first + rank, 2 * i))
        update = orthogonalize(whole, dtype=self._dtype)
        return [cut.of(update).contiguous() for cut in cuts]


def _others(rank: int, size: int) -> Iterator[int]:
    """All ranks but this one, beginning with the next, so that not all talk to the same one."""
    return ((rank + step) % size for step in range(1, size))


def _bits(x: Tensor) -> Tensor:
    """bf16 as integers, which travel as they are; fp32 as it is."""
    return x.view(torch.int16) if x.dtype == torch.bfloat16 else x
