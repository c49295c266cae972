"""Totals of a global batch: losses and targets, also by source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fasttrain.comm.group import Group
from fasttrain.parallel.stage import MicroBatch


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Totals over the global batch."""

    loss: float
    """Sum of -log p(target), in nats."""
    z2: float
    """Sum of logsumexp(logits)^2."""
    num_tokens: int
    """Targets."""
    loss_by_source: npt.NDArray[np.float64]
    """(S,) nats."""
    tokens_by_source: npt.NDArray[np.int64]
    """(S,) targets."""

    @property
    def mean_loss(self) -> float:
        """Nats a token; nan when there is no target."""
        return self.loss / self.num_tokens if self.num_tokens else math.nan

    def mean_by_source(self, names: Sequence[str]) -> dict[str, float]:
        """Nats a token of each source that has targets."""
        pairs = zip(names, self.loss_by_source, self.tokens_by_source)
        return {name: float(nats / n) for name, nats, n in pairs if n}


class Totals:
    """What one rank adds up, micro-batch by micro-batch, in float64."""

    def __init__(self, num_sources: int) -> None:
        """Args: num_sources: S, sources are numbered 0..S-1 in `MicroBatch.sources`."""
        self._num_sources = num_sources
        self._values = np.zeros(2 + 2 * num_sources, np.float64)
        self._outputs: list[tuple[MicroBatch, torch.Tensor]] = []

    def add(self, micro: MicroBatch, y: torch.Tensor) -> None:
        """Take the last stage's output (2, B, T), nll and z2 of each token; on a card it need not be there yet."""
        self._outputs.append((micro, y.detach()))

    def fetch(self) -> None:
        """Bring what was taken to the CPU: a card is waited for here, once for all micro-batches."""
        self._outputs = [(micro, y.cpu()) for micro, y in self._outputs]

    def add_up(self) -> None:
        """Add up what was taken, in its order."""
        self.fetch()
        outputs, self._outputs = self._outputs, []
        for micro, y in outputs:
            self._add(micro, *y.double().numpy())

    def _add(self, micro: MicroBatch, nll: npt.NDArray[np.float64], z2: npt.NDArray[np.float64]) -> None:
        sources, S, values = micro.sources.numpy().ravel(), self._num_sources, self._values
        values[0] += nll.sum()
        values[1] += z2.sum()
        values[2 : 2 + S] += np.bincount(sources, nll.ravel(), minlength=S)
        values[2 + S :] += np.bincount(sources, micro.is_target().numpy().ravel(), minlength=S)

    def reduce(self, world: Group) -> Sums:
        """Sum over the ranks; each calls it once, when all is added up."""
        world.allreduce_(self._values)
        S = self._num_sources
        by_source = self._values[2 + S :].astype(np.int64)
        return Sums(
            loss=float(self._values[0]),
            z2=float(self._values[1]),
            num_tokens=int(by_source.sum()),
            loss_by_source=self._values[2 : 2 + S].copy(),
            tokens_by_source=by_source,
        )
