"""One AdamW step by its definition (Loshchilov & Hutter 2019): all others must equal it bit for bit.

g = grad_scale grad;  m += (g - m) (1 - b1);  v = b2 v + g^2 (1 - b2)
param = param (1 - lr wd) - m / (sqrt(v) / sqrt(1 - b2^t) + eps) lr / (1 - b1^t)
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def coefficients(
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, grad_scale: float
) -> npt.NDArray[np.float64]:
    """The eight numbers of a step: grad_scale, 1 - b1, b2, 1 - b2, keep, v_scale, eps, lr of the formula above."""
    beta1, beta2 = betas
    v_scale = 1.0 / math.sqrt(1.0 - beta2**step)
    return np.array(
        [grad_scale, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 - lr * weight_decay, v_scale, eps, lr / (1.0 - beta1**step)]
    )


def adamw(param: Array, grad: Array, m: Array, v: Array, c: Array) -> None:
    """In place, in the arrays' dtype, each operation rounded once. Arrays (N,) and (8,), of one dtype."""
    grad_scale, one_minus_beta1, beta2, one_minus_beta2, keep, v_scale, eps, lr = c
    g = grad * grad_scale
    m += (g - m) * one_minus_beta1
    v[...] = v * beta2 + g * g * one_minus_beta2
    param[...] = param * keep - m / (np.sqrt(v) * v_scale + eps) * lr
