"""Data parallelism: a rank's parameters and gradients in flat buffers, gradients summed over replicas in buckets.

Flat layout, from the end of the model to its start, because that is the order in which backward finishes gradients:

    [ matrices, last layer first | vectors (norms), last layer first ]      decayed | not decayed by AdamW

Where parameters learn at several rates (muP), matrices of one rate lie together, the lowest rate first.

Matrices that are bf16 stay so, in a buffer of their own, and have no fp32 form; vectors are fp32 always (they are few,
and a norm's weight near 1 would walk at random in steps of 2^-8, many times those of AdamW). Gradients of bf16 matrices
are added up in fp32 all the same: backward makes one in bf16 a micro-batch, which goes to the flat buffer and is freed.

Buckets are cut from it once and always start in the same order, whatever finishes first, so that ranks agree and the
sums have the same bits with and without overlap. Gradients come already divided by the tokens of the whole batch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fasttrain.parallel.wire import Reducing, Wire

BUCKET_BYTES = 32 << 20  # large enough for bandwidth, small enough that the first one leaves early in backward


@dataclass(frozen=True)
class Span:
    """Where a parameter lies in the flat buffers."""

    start: int
    stop: int
    shape: torch.Size

    def of(self, flat: torch.Tensor) -> torch.Tensor:
        """The parameter's part of a flat buffer, in its shape."""
        return flat[self.start : self.stop].view(self.shape)


@dataclass(frozen=True, kw_only=True)
class OptimizerGroup:
    """A part of the flat buffers that one optimizer setting goes over."""

    part: slice
    is_decayed: bool
    lr_scale: float
    """What the learning rate is multiplied by, and the decay divided by."""


class FlatParameters:
    """The parameters of `named` moved into one buffer (bf16 matrices into another) and their gradients into one."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        device: torch.device,
        *,
        lr_scale: Callable[[str], float] = lambda name: 1.0,
    ) -> None:
        grouped: dict[tuple[bool, float], list[tuple[str, nn.Parameter]]] = {}
        for name, p in list(named)[::-1]:
            grouped.setdefault((p.ndim < 2, lr_scale(name)), []).append((name, p))
        self.spans: dict[str, Span] = {}
        self.parameters: dict[str, nn.Parameter] = {}
        self.groups: list[OptimizerGroup] = []
        start = 0
        for (is_vector, scale), members in sorted(grouped.items(), key=lambda group: group[0]):
            begin = start
            for name, p in members:
                self.spans[name] = Span(start, start + p.numel(), p.shape)
                self.parameters[name] = p
                start += p.numel()
            self.groups.append(OptimizerGroup(part=slice(begin, start), is_decayed=not is_vector, lr_scale=scale))
        # Halves come first, because matrices do.
        self.num_halves = sum(p.numel() for p in self.parameters.values() if p.dtype == torch.bfloat16)
        self.halves = torch.empty(self.num_halves, dtype=torch.bfloat16, device=device)
        self.weights = torch.empty(start - self.num_halves, dtype=torch.float32, device=device)
        self.grads = torch.zeros(start, dtype=torch.float32, device=device)
        for name, p in self.parameters.items():
            view = self.weight(name)
            view.copy_(p.detach())
            p.data = view
            if p.dtype == torch.float32:
                p.grad = self.spans[name].of(self.grads)
            else:
                p.register_post_accumulate_grad_hook(self._add_to(self.spans[name]))  # type: ignore[no-untyped-call]

    def _add_to(self, span: Span) -> Callable[[torch.Tensor], None]:
        def add(p: torch.Tensor) -> None:
            assert p.grad is not None
            span.of(self.grads).add_(p.grad)
            p.grad = None

        return add

    def weight(self, name: str) -> torch.Tensor:
        """The weights of one parameter, as a view."""
        span = self.spans[name]
        if span.stop <= self.num_halves:
            return span.of(self.halves)
        return self.part(span.start, span.stop).view(span.shape)

    def part(self, start: int, stop: int) -> torch.Tensor:
        """The fp32 weights whose gradients are `grads[start:stop]`, as a view."""
        return self.weights[start - self.num_halves : stop - self.num_halves]

    def exact(self) -> torch.Tensor:
        """A copy of all weights in fp32, laid out as the gradients."""
        return torch.cat([self.halves.float(), self.weights])

    def grad(self, name: str) -> torch.Tensor:
        """The gradient of one parameter, as a view."""
        return self.spans[name].of(self.grads)

    def zero_grads(self) -> None:
        """Forget the gradients, in place: each parameter's `.grad` stays a view of the flat buffer."""
        self.grads.zero_()


class BucketReducer:
    """Sums the flat gradients over the replicas, bucket by bucket, while backward is still running."""

    def __init__(
        self, flat: FlatParameters, wire: Wire, *, bucket_bytes: int = BUCKET_BYTES, overlap: bool = True
    ) -> None:
        self.flat, self.wire = flat, wire
        self.buckets = _cut(list(flat.spans.values()), bucket_bytes // 4)
        self._bucket_of = {
            name: next(i for i, (a, b) in enumerate(self.buckets) if a <= s.start < b)
            for name, s in flat.spans.items()
            if s.stop > s.start
        }
        self._missing: list[int] = []
        self._armed = False
        self._started: list[Reducing] = []
        if wire.size > 1 and overlap:
            for name in self._bucket_of:
                parameter: Any = flat.parameters[name]  # torch leaves the method untyped
                parameter.register_post_accumulate_grad_hook(self._hook(name))

    def arm(self) -> None:
        """Say that the next backward is the last one of the step."""
        self._armed = True
        self._missing = [0] * len(self.buckets)
        for i in self._bucket_of.values():
            self._missing[i] += 1

    def finish(self) -> None:
        """Start what has not started yet, and return when every gradient is the sum over the replicas."""
        self._armed = False
        if self.wire.size > 1:
            while len(self._started) < len(self.buckets):
                self._start_next()
            for reducing in self._started:
                reducing.wait()
        self._started = []

    def _start_next(self) -> None:
        start, stop = self.buckets[len(self._started)]
        self._started.append(self.wire.start_all_reduce_(self.flat.grads[start:stop]))

    def _hook(self, name: str) -> Callable[[torch.Tensor], None]:
        bucket = self._bucket_of[name]

        def ready(_: torch.Tensor) -> None:
            if not self._armed:
                return
            self._missing[bucket] -= 1
            while len(self._started) < len(self.buckets) and not self._missing[len(self._started)]:
                self._start_next()
            if self._started:  # Open MPI moves data only inside MPI calls
                self._started[-1].test()

        return ready


def _cut(spans: list[Span], size: int) -> list[tuple[int, int]]:
    """Cut [0, total) at parameter boundaries into pieces of at least `size` elements (the last may be smaller)."""
    buckets: list[tuple[int, int]] = []
    start = 0
    for span in spans:
        if span.stop - start >= size or (span is spans[-1] and span.stop > start):
            buckets.append((start, span.stop))
            start = span.stop
    return buckets
