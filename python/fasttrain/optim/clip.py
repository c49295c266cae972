"""The global gradient norm and the clipping coefficient."""

import math
import os
from collections.abc import Iterable

import torch
from torch import Tensor

from fasttrain.optim.sum_squares import sum_squares


def torch_threads() -> int:
    """Threads of a native pass over tensors: FASTTRAIN_THREADS, else torch's, which the loop sets by the recipe."""
    return int(os.environ.get("FASTTRAIN_THREADS", 0)) or torch.get_num_threads()


def tensor_sum_squares(x: Tensor) -> float:
    """Sum of squares of a tensor's values in fp64: the same bits for any thread count and instruction set.

    On another device than the CPU it is torch's sum, which is as repeatable as torch makes it there.
    """
    if x.device.type != "cpu":
        return float(x.detach().double().square().sum())
    flat = x.detach().contiguous().view(-1).float().numpy()
    return sum_squares(flat, threads=torch_threads())


def global_norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of all values together, in fp64; inf or nan when a value is."""
    return math.sqrt(math.fsum(tensor_sum_squares(x) for x in tensors))


def clip_coefficient(norm: float, clip_norm: float) -> float:
    """Return min(1, clip_norm / norm), what gradients are multiplied by; 1 when clip_norm is 0 (no clipping)."""
    return 1.0 if clip_norm <= 0.0 or norm <= clip_norm else clip_norm / norm
