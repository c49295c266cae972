"""The 1F1B schedule: one forward, one backward, so that a stage holds at most (stages behind it + 1) micro-batches.

    stage 0: F0 F1 F2 F3 B0 F4 B1 ... (warm-up of 3, then one of each)
    stage 3:          F0 B0 F1 B1 ... (4 stages; PipeDream-Flush, arXiv:2006.09503; Megatron-LM, arXiv:2104.04473)

Sends never block: a stage posts its message and goes on, and its memory is kept until the message is gone. Each stage
receives in the order in which its neighbour sends, so that no cycle of waiting ranks can form.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal, TypeVar

import torch

from fasttrain.monitor.spans import Spans
from fasttrain.parallel.wire import Sending, Wire

M = TypeVar("M")
_FORWARD, _BACKWARD = 1, 2  # message tags


def schedule(num_micro: int, stage: int, num_stages: int) -> Iterator[tuple[Literal["forward", "backward"], int]]:
    """What a stage does, in order: ("forward" or "backward", micro-batch)."""
    ahead = min(num_stages - 1 - stage, num_micro)
    for i in range(ahead):
        yield "forward", i
    for i in range(ahead, num_micro):
        yield "forward", i
        yield "backward", i - ahead
    for i in range(num_micro - ahead, num_micro):
        yield "backward", i


def run(
    micro_batches: Sequence[M],
    wire: Wire,
    *,
    boundary: Callable[[M], torch.Tensor],
    forward: Callable[[M, torch.Tensor | None], torch.Tensor],
    backward: Callable[[M, torch.Tensor], None] | None = None,
    before_last_backward: Callable[[], None] = lambda: None,
    spans: Spans | None = None,
) -> None:
    """Run every micro-batch through this stage's `forward` and `backward`, exchanging boundaries with its neighbours.

    Args:
        boundary: room for what crosses stages for this micro-batch: shape, dtype and device.
        forward: (micro-batch, input or None on the first stage) -> output; on the last stage whatever `backward` takes.
        backward: called on the last stage with `forward`'s output to start its gradients; None: forward only.
        before_last_backward: called once before the last micro-batch's gradients.
        spans: where the seconds of "forward" and "backward" are counted.
    """
    first, last = wire.rank == 0, wire.rank == wire.size - 1
    inputs: deque[torch.Tensor | None] = deque()
    outputs: deque[torch.Tensor] = deque()
    sends: deque[Sending] = deque()
    span = spans or (lambda _: nullcontext())
    steps = schedule(len(micro_batches), wire.rank, wire.size)
    for kind, i in steps if backward else (("forward", i) for i in range(len(micro_batches))):
        micro = micro_batches[i]
        if kind == "forward":
            x = None if first else wire.recv(boundary(micro), wire.rank - 1, _FORWARD)
            if x is not None and backward:
                x.requires_grad_()
            with span("forward"):
                y = forward(micro, x)
            if not last:
                sends.append(wire.isend(y, wire.rank + 1, _FORWARD))
            if backward:
                inputs.append(x)
                outputs.append(y)
        else:
            assert backward is not None
            x, y = inputs.popleft(), outputs.popleft()
            if i == len(micro_batches) - 1:
                before_last_backward()
            dy = None if last else wire.recv(y, wire.rank + 1, _BACKWARD)
            with span("backward"):
                if last:
                    backward(micro, y)
                else:
                    torch.autograd.backward(y, dy)
            if not first:
                assert x is not None
                assert x.grad is not None
                sends.append(wire.isend(x.grad, wire.rank - 1, _BACKWARD))
        while len(sends) > 2 * wire.size:
            sends.popleft().wait()
    for send in sends:
        send.wait()
