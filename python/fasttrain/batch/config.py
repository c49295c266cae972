"""What a training step reads, and how that grows at the start of a run."""

from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from fasttrain.core.config import Settings


class BatchWarmup(Settings):
    """A stretch of the first steps with fewer or shorter sequences. What is not given is as in the rest of the run."""

    steps: int = Field(ge=1)
    """How many steps it lasts; stretches follow one another."""
    global_batch: int | None = Field(default=None, ge=1)
    """Sequences of a step."""
    seq_len: int | None = Field(default=None, ge=1)
    """Each sequence of batch.seq_len tokens goes through the model as pieces of this length, which must divide it: the
    same tokens in the same order, the attention of short contexts."""


class BatchConfig(Settings):
    """What a training step reads."""

    seq_len: int = Field(default=256, ge=1)
    """Tokens of a sequence."""
    global_batch: int = Field(default=32, ge=1)
    """Sequences of a step, all ranks and accumulation together."""
    packing: Literal["concat", "best_fit"] = "best_fit"
    """"concat" cuts the stream of documents anywhere; "best_fit" keeps documents whole and pads."""
    document_mask: bool = False
    """Whether attention stops at document boundaries."""
    warmup: tuple[BatchWarmup, ...] = ()
    """Stretches of smaller batches or shorter sequences at the start, one after another."""
    seed: int = Field(default=0, ge=0)
    """Of the order; another seed, another order of the same text."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, stretch in enumerate(self.warmup):
            if stretch.seq_len and self.seq_len % stretch.seq_len:
                raise ValueError(f"warmup.{i}.seq_len must divide seq_len = {self.seq_len}, got {stretch.seq_len}")
        return self

    def rows(self, batch: int) -> int:
        """Sequences of global batch `batch`, a pure function of its number."""
        stretch = self._stretch(batch)
        return (stretch and stretch.global_batch) or self.global_batch

    def piece_len(self, batch: int) -> int:
        """Tokens that go through the model together in global batch `batch`: seq_len, or what a warm-up cuts it to."""
        stretch = self._stretch(batch)
        return (stretch and stretch.seq_len) or self.seq_len

    def smallest(self) -> int:
        """Sequences of the smallest batch."""
        return min([self.global_batch, *(s.global_batch for s in self.warmup if s.global_batch)])

    def first_slot(self, batch: int) -> int:
        """Sequences before global batch `batch`."""
        return int(self.first_slots(np.array([batch]))[0])

    def first_slots(self, batches: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Sequences before each of the global batches."""
        slots, left = np.zeros(len(batches), np.int64), batches.astype(np.int64)
        for stretch in self.warmup:
            inside = np.minimum(left, stretch.steps)
            slots, left = slots + inside * (stretch.global_batch or self.global_batch), left - inside
        return slots + left * self.global_batch

    def num_tokens(self, num_batches: int) -> int:
        """Tokens of the first `num_batches` batches, padding included."""
        return self.first_slot(num_batches) * self.seq_len

    def num_batches(self, total_tokens: int) -> int:
        """The fewest batches that hold `total_tokens`."""
        needed, batches = -(-total_tokens // self.seq_len), 0
        for stretch in self.warmup:
            size = stretch.global_batch or self.global_batch
            if needed <= stretch.steps * size:
                return batches + -(-needed // size)
            needed, batches = needed - stretch.steps * size, batches + stretch.steps
        return batches + -(-needed // self.global_batch)

    def _stretch(self, batch: int) -> BatchWarmup | None:
        for stretch in self.warmup:
            if batch < stretch.steps:
                return stretch
            batch -= stretch.steps
        return None
