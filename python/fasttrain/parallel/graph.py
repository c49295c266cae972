"""Forward and backward of a micro-batch as a CUDA graph: one launch instead of a thousand.

A shape's first micro-batches run as usual, which loads kernels and what libraries keep. The next one is captured and
replayed from then on: its inputs and the loss scale are copied into the memory that the graph reads, and gradients come
into memory that stays. The first micro-batch of a step lays its gradients down and a later one adds to them, so these
are two graphs of one shape. All share one pool of memory, for only one runs at a time. The kernels, their inputs and
their order are those of the usual way, and so are the bits.

Whole-network capture, as torch describes it (docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs) and Megatron-LM
does it for a whole iteration; here the optimizer stays outside, because the guard decides in front of it.
"""

import gc
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from fasttrain.parallel.data import FlatParameters, Held
from fasttrain.parallel.stage import MicroBatch

log = logging.getLogger("fasttrain.train")

WARM = 2  # micro-batches of a kind that run as usual
MOST = 6  # graphs; shapes beyond run as usual

_FAILED: list[torch.cuda.CUDAGraph] = []  # whom torch's allocators may still ask

_Kind = tuple[torch.Size, bool, bool]


@dataclass(frozen=True, kw_only=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    scale: torch.Tensor
    """() fp32: what the sum of the losses is multiplied by."""
    losses: torch.Tensor
    """(2, B, T): what forward gives; overwritten by the next replay."""
    before: Held
    after: Held


class Graphs:
    """The graphs of one rank without neighbours."""

    def __init__(self, flat: FlatParameters) -> None:
        self._flat = flat
        self._seen: dict[_Kind, int] = {}
        self._captured: dict[_Kind, _Captured] = {}
        self._pool: Any = None  # torch names no type of it
        self._is_off = False

    def run(
        self,
        micro: MicroBatch,
        scale: float,
        forward: Callable[[MicroBatch], torch.Tensor],
        descend: Callable[[torch.Tensor, torch.Tensor], None],
    ) -> torch.Tensor | None:
        """Put the micro-batch's gradients into the flat buffers, or add them there; return (2, B, T), nll and z2.

        None: nothing has been done, for this one must go the usual way.
        Args:
            forward: micro-batch -> (2, B, T), without waiting for the card.
            descend: starts the backward of that, times a scale.
        """
        held = self._flat.held()
        kind = (micro.tokens.shape, micro.segments is not None, bool(held.arrived))
        captured = self._captured.get(kind)
        if captured is None:
            self._seen[kind] = self._seen.get(kind, 0) + 1
            if self._is_off or self._seen[kind] <= WARM or len(self._captured) == MOST:
                return None
            captured = self._capture(micro, scale, forward, descend)
            if captured is None:
                # What is left of the passes holds nodes that add gradients up in the capture's stream: each later
                # backward would take those again, and wait for that stream.
                gc.collect()
                return None
            self._captured[kind] = captured
        if held.arrived != captured.before.arrived:
            return None
        for mine, new in zip(captured.inputs, _tensors(micro)):
            mine.copy_(new)
        captured.scale.fill_(scale)
        _move(held.memory, captured.before.memory)
        captured.graph.replay()
        self._flat.hold(captured.after)
        return captured.losses.clone()

    def _capture(
        self,
        micro: MicroBatch,
        scale: float,
        forward: Callable[[MicroBatch], torch.Tensor],
        descend: Callable[[torch.Tensor, torch.Tensor], None],
    ) -> _Captured | None:
        """Record both passes, which computes nothing; None, and never again, where that cannot be."""
        before, graph, stream = self._flat.held(), torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        static = replace(
            micro,
            tokens=micro.tokens.clone(),
            targets=micro.targets.clone(),
            segments=None if micro.segments is None else micro.segments.clone(),
        )
        factor = torch.full((), scale, dtype=torch.float32, device=micro.tokens.device)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            # Another thread makes the next batches, in pinned memory, and may.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                y = forward(static)
                descend(y, factor)
                losses = y.detach()
        except RuntimeError as error:  # of torch: an operation that cannot be captured, or no memory for a pool
            _clean_up(graph, self._pool, stream)
            self._flat.hold(before)
            for p in self._flat.parameters.values():
                p.grad = None
            self._is_off = True
            cause = str(error.__context__ or error)  # words alone: the frames of an error that a log keeps hold y
            log.warning("train: steps go on without a CUDA graph, for one could not be captured: %s", cause)
            return None
        after = self._flat.held()
        self._flat.hold(before)
        return _Captured(graph=graph, inputs=_tensors(static), scale=factor, losses=losses, before=before, after=after)


def _clean_up(graph: torch.cuda.CUDAGraph, pool: Any, stream: torch.cuda.Stream) -> None:
    """Do what torch leaves undone when it cannot end a capture: its stream stays the current one, its pool open."""
    torch.cuda.set_stream(stream)
    with suppress(RuntimeError):  # it was closed
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
    _FAILED.append(graph)


def _tensors(micro: MicroBatch) -> list[torch.Tensor]:
    tensors = [micro.tokens, micro.targets]
    return tensors if micro.segments is None else [*tensors, micro.segments]


def _move(now: list[torch.Tensor | None], wanted: list[torch.Tensor | None]) -> None:
    """Copy gradients that the step has so far to where a graph adds to them."""
    for mine, new in zip(wanted, now):
        if mine is not None and new is not None and mine.data_ptr() != new.data_ptr():
            mine.copy_(new)
