"""What passes over parameters share: flat arrays of tensors, and the place that stochastic rounding draws bits by."""

from typing import Any

import torch
from torch import Tensor


def check_place(op: str, size: int, *, step: int, stream: int, offset: int, width: int, pitch: int) -> None:
    """Raise ValueError unless values 0..size-1 have counters of their own (csrc/optim/place.h)."""
    if step < 1:
        raise ValueError(f"{op}: step must be at least 1, got {step}")
    if width and not (0 < width <= pitch and size % width == 0):
        raise ValueError(f"{op}: need 0 < width <= pitch and whole rows of N = {size}, got {width}, {pitch}")
    extent = size // width * pitch if width else size
    if not (step < 2**32 and 0 <= stream < 2**32 and 0 <= offset <= 2**35 - extent):
        raise ValueError(
            f"{op}: step and stream must be below 2^32 and offset + N at most 2^35, got {step}, {stream}, {offset}"
        )


def flat(x: Tensor) -> Any:
    """The memory of a contiguous CPU tensor as an array (N,), bf16 as its bits."""
    x = x.detach().view(-1)
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def gradient(group: dict[str, Any], p: Tensor) -> Tensor | None:
    """The gradient that a group says its one parameter has (fp32, of a bf16 parameter), else the parameter's own."""
    grad: Tensor | None = group.get("grad", p.grad)
    return grad


def check_alone(optimizer: str, group: dict[str, Any]) -> None:
    """Raise ValueError unless a group that names a place or a gradient holds one parameter."""
    if ("place" in group or "grad" in group) and len(group["params"]) != 1:
        raise ValueError(f"{optimizer}: a group with a place or grad must hold one parameter")
