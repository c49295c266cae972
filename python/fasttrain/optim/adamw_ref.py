"""One AdamW step by its definition (Loshchilov & Hutter 2019): every other implementation is measured against this one.

g' = grad_scale g;  p *= 1 - lr wd;  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2
p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
"""

import math
from typing import Any

import numpy.typing as npt


def adamw(
    param: npt.NDArray[Any],
    grad: npt.NDArray[Any],
    m: npt.NDArray[Any],
    v: npt.NDArray[Any],
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
) -> None:
    """In place, in the arrays' dtype, scalars rounded to it once. Arrays (N,); `step` counts from 1."""
    f = param.dtype.type
    scaled = grad * f(grad_scale)
    m += (scaled - m) * f(1.0 - beta1)
    v *= f(beta2)
    v += scaled * scaled * f(1.0 - beta2)
    param *= f(1.0 - lr * weight_decay)
    denominator = (v**0.5) * f(1.0 / math.sqrt(1.0 - beta2**step)) + f(eps)
    param -= m / denominator * f(lr / (1.0 - beta1**step))
