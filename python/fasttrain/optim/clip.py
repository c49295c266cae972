"""The global gradient norm and the clipping coefficient."""

import math
import os
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fasttrain.core import cuda
from fasttrain.optim.adamw_cuda import sum_squares_cuda
from fasttrain.optim.sum_squares import sum_squares


def torch_threads() -> int:
    """Threads of a native pass over tensors: FASTTRAIN_THREADS, else torch's, which the loop sets by the recipe."""
    return int(os.environ.get("FASTTRAIN_THREADS", 0)) or torch.get_num_threads()


def tensor_sum_squares(x: Tensor) -> float:
    """`tensor_sums_squares` of one."""
    return tensor_sums_squares([x])[0]


def tensor_sums_squares(tensors: Sequence[Tensor]) -> list[float]:
    """Sum of squares of each tensor's values in fp64: the same bits for any thread count, instruction set and card.

    Waits for a card once. On one without compiled kernels it is torch's sum, as repeatable as torch makes it there.
    """
    views = [x.detach() for x in tensors]
    if views and all(cuda.is_built(x) and x.device == views[0].device for x in views):
        return sum_squares_cuda(x.float().contiguous() for x in views)
    return [
        sum_squares(x.contiguous().view(-1).float().numpy(), threads=torch_threads())
        if x.device.type == "cpu"
        else float(x.double().square().sum())
        for x in views
    ]


def global_norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of all values together, in fp64; inf or nan when a value is."""
    return math.sqrt(math.fsum(tensor_sums_squares(list(tensors))))


def clip_coefficient(norm: float, clip_norm: float) -> float:
    """Return min(1, clip_norm / norm), what gradients are multiplied by; 1 when clip_norm is 0 (no clipping)."""
    return 1.0 if clip_norm <= 0.0 or norm <= clip_norm else clip_norm / norm
