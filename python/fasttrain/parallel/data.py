"""Data parallelism: a rank's parameters and gradients in flat buffers, gradients summed over replicas in buckets.

Flat layout, from the end of the model to its start, because that is the order in which backward finishes gradients:

    [ matrices, last layer first | vectors (norms), last layer first ]      decayed | not decayed by AdamW

Where parameters learn at several rates (muP, embeddings), matrices of one rate lie together, the lowest rate first.

Matrices that are bf16 stay so, in a buffer of their own, and have no fp32 form; vectors are fp32 always (they are few,
and a norm's weight near 1 would walk at random in steps of 2^-8, many times those of AdamW).

Gradients are fp32 and lie in buckets, cut from the layout once. A bucket has memory from the step's first gradient in
it to the optimizer's step: in forward, when activations are many, gradients take none, and in backward they move into
what activations leave. Autograd hands each over as a tensor of its own; a hook copies it into its bucket, or adds it to
what earlier micro-batches put there, or makes it the bucket where it is all of it. Buckets are reduced in their order,
whatever finishes first, so that ranks agree and the sums have the same bits with and without overlap. Gradients come
already divided by the tokens of the whole batch.
"""

import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fasttrain.core import pages
from fasttrain.parallel.wire import Reducing, Wire

BUCKET_BYTES = 32 << 20  # large enough for bandwidth, small enough that the first one leaves early in backward
ALONE_BUCKET_BYTES = 1 << 20  # of one replica: most matrices have a bucket of their own, into which nothing is copied


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


@dataclass(frozen=True, kw_only=True)
class Held:
    """Gradients between two micro-batches."""

    memory: list[torch.Tensor | None]
    """Of each bucket; None: no gradient has come."""
    arrived: frozenset[str]
    """Parameters whose gradients are there."""


class FlatParameters:
    """The parameters of `named` moved into one buffer (bf16 matrices into another) and their gradients into buckets."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        device: torch.device,
        *,
        lr_scale: Callable[[str], float] = lambda name: 1.0,
        bucket_bytes: int = BUCKET_BYTES,
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
        self.size, self.device = start, device
        # Halves come first, because matrices do.
        self.num_halves = sum(p.numel() for p in self.parameters.values() if p.dtype == torch.bfloat16)
        self.halves = pages.empty((self.num_halves,), torch.bfloat16, device)
        self.weights = pages.empty((start - self.num_halves,), torch.float32, device)
        self.buckets = _cut(list(self.spans.values()), bucket_bytes // 4)
        self._bucket_of = {
            name: bisect_right(self.buckets, (s.start, start)) - 1 for name, s in self.spans.items() if s.stop > s.start
        }
        self.names_in: list[list[str]] = [[] for _ in self.buckets]  # parameters without values are in none
        for name, i in self._bucket_of.items():
            self.names_in[i].append(name)
        self._memory: list[torch.Tensor | None] = [None] * len(self.buckets)
        self._arrived: set[str] = set()
        for name, p in self.parameters.items():
            view = self.weight(name)
            view.copy_(p.detach())
            p.data = view
            p.register_post_accumulate_grad_hook(self._take(name))  # type: ignore[no-untyped-call]

    def weight(self, name: str) -> torch.Tensor:
        """The weights of one parameter, as a view."""
        span = self.spans[name]
        if span.stop <= self.num_halves:
            return span.of(self.halves)
        return self.part(span.start, span.stop).view(span.shape)

    def part(self, start: int, stop: int) -> torch.Tensor:
        """The fp32 weights at [start, stop) of the layout, as a view."""
        return self.weights[start - self.num_halves : stop - self.num_halves]

    def exact(self) -> torch.Tensor:
        """A copy of all weights in fp32, in the order of the layout."""
        return torch.cat([self.halves.float(), self.weights])

    def bucket(self, i: int) -> torch.Tensor:
        """The gradients of bucket `i`, flat fp32; zeros where the step had none."""
        memory = self._memory_of(i)
        for name in self.names_in[i]:
            if name not in self._arrived:
                self._place(name, memory).zero_()
                self._arrived.add(name)
        return memory

    def grad(self, name: str) -> torch.Tensor:
        """The gradient of one parameter, as a view; zeros where the step had none."""
        i = self._bucket_of.get(name)
        if i is None:
            return torch.zeros(self.spans[name].shape, device=self.device)
        return self._place(name, self.bucket(i))

    def cut(self, start: int, stop: int) -> list[tuple[int, int]]:
        """[start, stop) of the layout in parts that lie in one bucket each."""
        parts = [(max(a, start), min(b, stop)) for a, b in self.buckets]
        return [(a, b) for a, b in parts if a < b]

    def grad_part(self, start: int, stop: int) -> torch.Tensor:
        """The gradients at [start, stop) of the layout, which must lie in one bucket, as a view."""
        i = bisect_right(self.buckets, (start, self.size)) - 1
        begin = self.buckets[i][0]
        return self.bucket(i)[start - begin : stop - begin]

    def grads(self) -> torch.Tensor:
        """A copy of all gradients, in the order of the layout."""
        return torch.cat([self.bucket(i) for i in range(len(self.buckets))])

    def held(self) -> Held:
        """Which memory the gradients so far are in, and whose they are."""
        return Held(memory=list(self._memory), arrived=frozenset(self._arrived))

    def hold(self, held: Held) -> None:
        """Let the gradients be those in this memory."""
        self._memory, self._arrived = list(held.memory), set(held.arrived)

    def drop_grads(self) -> None:
        """Forget the gradients, and give their memory back."""
        self._memory = [None] * len(self.buckets)
        self._arrived.clear()

    def _memory_of(self, i: int) -> torch.Tensor:
        memory = self._memory[i]
        if memory is None:
            start, stop = self.buckets[i]
            memory = self._memory[i] = pages.empty((stop - start,), torch.float32, self.device)
        return memory

    def _place(self, name: str, bucket: torch.Tensor) -> torch.Tensor:
        span, begin = self.spans[name], self.buckets[self._bucket_of[name]][0]
        return bucket[span.start - begin : span.stop - begin].view(span.shape)

    def _take(self, name: str) -> Callable[[torch.Tensor], None]:
        mine = weakref.ref(self)  # Python's collector does not see hooks, and so no cycle through them

        def take(p: torch.Tensor) -> None:
            flat = mine()
            if flat is None:
                return
            assert p.grad is not None
            grad, p.grad = p.grad, None
            flat._put(name, grad)

        return take

    def _put(self, name: str, grad: torch.Tensor) -> None:
        i = self._bucket_of.get(name)
        if i is None:
            return
        if name in self._arrived:
            self._place(name, self._memory_of(i)).add_(grad)
            return
        self._arrived.add(name)
        if self.names_in[i] == [name] and grad.dtype == torch.float32 and grad.is_contiguous():
            self._memory[i] = grad.view(-1)  # autograd has made it for this parameter alone
        else:
            self._place(name, self._memory_of(i)).copy_(grad)


class BucketReducer:
    """Sums the flat gradients over the replicas, bucket by bucket, while backward is still running."""

    def __init__(self, flat: FlatParameters, wire: Wire, *, overlap: bool = True) -> None:
        self.flat, self.wire = flat, wire
        self._missing: list[int] = []
        self._armed = False
        self._started: list[Reducing] = []
        if wire.size > 1 and overlap:
            for bucket, names in enumerate(flat.names_in):
                for name in names:
                    parameter: Any = flat.parameters[name]  # torch leaves the method untyped
                    parameter.register_post_accumulate_grad_hook(self._hook(bucket))

    def arm(self) -> None:
        """Say that the next backward is the last one of the step."""
        self._armed = True
        self._missing = [len(names) for names in self.flat.names_in]

    def finish(self) -> None:
        """Start what has not started yet, and return when every gradient is the sum over the replicas."""
        self._armed = False
        if self.wire.size > 1:
            while len(self._started) < len(self.flat.buckets):
                self._start_next()
            self.wire.meet()  # until then the sums wait for the last rank, and not for bytes
            for reducing in self._started:
                reducing.wait()
        self._started = []

    def _start_next(self) -> None:
        self._started.append(self.wire.start_all_reduce_(self.flat.bucket(len(self._started))))

    def _hook(self, bucket: int) -> Callable[[torch.Tensor], None]:
        mine = weakref.ref(self)

        def ready(_: torch.Tensor) -> None:
            reducer = mine()
            if reducer is not None and reducer._armed:
                reducer._count(bucket)

        return ready

    def _count(self, bucket: int) -> None:
        self._missing[bucket] -= 1
        while len(self._started) < len(self.flat.buckets) and not self._missing[len(self._started)]:
            self._start_next()
        if self._started:  # Open MPI moves data only inside MPI calls
            self._started[-1].test()


def _cut(spans: list[Span], size: int) -> list[tuple[int, int]]:
    """Cut [0, total) at parameter boundaries into pieces of at least `size` elements (the last may be smaller)."""
    buckets: list[tuple[int, int]] = []
    start = 0
    for span in spans:
        if span.stop - start >= size or (span is spans[-1] and span.stop > start):
            buckets.append((start, span.stop))
            start = span.stop
    return buckets
