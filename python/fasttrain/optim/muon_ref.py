"""One Muon step by its definition (Jordan 2024, arXiv:2502.16982 for the scale): others are measured against this one.

g = grad_scale grad;  buffer += (g - buffer) (1 - mu);  u = buffer + (g - buffer) (1 - mu)  (Nesterov)
X = u / max(||u||_F, eps), as a wide matrix;  5 times: A = X X^T, X = a X + (b A + c A A) X
param = param (1 - lr wd) - X lr 0.2 sqrt(max(n, m))
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

A, B, C = 3.4445, -4.775, 2.0315
"""Of the quintic a x + b x^3 + c x^5, steepest at 0 of those that keep singular values near 1 (Jordan 2024)."""
STEPS, EPS = 5, 1e-7


def nesterov(grad: Array, buffer: Array, *, one_minus_momentum: float, grad_scale: float = 1.0) -> None:
    """In place, in the arrays' dtype, each operation rounded once; `grad` becomes u. Arrays of one shape."""
    g = grad * grad_scale
    buffer += (g - buffer) * one_minus_momentum
    grad[...] = buffer + (g - buffer) * one_minus_momentum


def step(param: Array, update: Array, *, keep: float, rate: float) -> None:
    """In place, in the arrays' dtype, each operation rounded once. Arrays of one shape."""
    param[...] = param * keep - update * rate


def orthogonalize(x: Array) -> Array:
    """(n, m): the singular vectors of x with singular values brought near 1 by five steps of Newton-Schulz."""
    y = x.T if x.shape[0] > x.shape[1] else x
    y = y / max(np.linalg.norm(y), EPS)
    for _ in range(STEPS):
        gram = y @ y.T
        y = A * y + (B * gram + C * gram @ gram) @ y
    result: Array = y.T if x.shape[0] > x.shape[1] else y
    return result


def scale(shape: tuple[int, int]) -> float:
    """What makes the update's root mean square that of AdamW's, about 0.2 (Moonlight, arXiv:2502.16982, eq. 4)."""
    return 0.2 * math.sqrt(max(shape))


def muon(param: Array, grad: Array, buffer: Array, *, lr: float, momentum: float, weight_decay: float) -> None:
    """In place, in the arrays' dtype; `grad` becomes u. Arrays (n, m)."""
    nesterov(grad, buffer, one_minus_momentum=1.0 - momentum)
    step(param, orthogonalize(grad), keep=1.0 - lr * weight_decay, rate=lr * scale(param.shape))
