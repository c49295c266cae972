"""One AdamW step by its definition (Loshchilov & Hutter 2019): all others must equal it bit for bit.

g = grad_scale grad;  m += (g - m) (1 - b1);  v = b2 v + g^2 (1 - b2)
param = param (1 - lr wd) - m / (sqrt(v) / sqrt(1 - b2^t) + eps) lr / (1 - b1^t)

bf16 (as uint16) is rounded to nearest even, or stochastically: the upper half of bits(x) + r, r = 16 random bits.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import philox

Array = npt.NDArray[Any]
Halves = npt.NDArray[np.uint16]


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


def widen(half: Halves) -> npt.NDArray[np.float32]:
    """bf16 bits as fp32."""
    return (half.astype(np.uint32) << 16).view(np.float32)


def nearest(x: npt.NDArray[np.float32]) -> Halves:
    """fp32 as bf16 bits, to nearest even; a NaN stays one."""
    bits = x.view(np.uint32).astype(np.uint64)
    return _upper(x, bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1)))


def stochastic(x: npt.NDArray[np.float32], random: npt.NDArray[np.uint32]) -> Halves:
    """fp32 as bf16 bits, away from zero with the probability of what is cut off; `random` in [0, 65536)."""
    return _upper(x, x.view(np.uint32).astype(np.uint64) + random)


def random_halves(
    size: int, offset: int, seed: int, step: int, stream: int, width: int = 0, pitch: int = 0
) -> npt.NDArray[np.uint32]:
    """(size,) 16 random bits of the values offset + i // width * pitch + i % width of a stream (csrc/optim/adamw.h)."""
    i = np.arange(size)
    q = offset + (i // width * pitch + i % width if width else i)
    first = offset // 128
    blocks = int(q[-1]) // 128 + 1 - first if size else 0
    words = philox.words(first, blocks, stream, step, 0xFFFFFFFF, seed)
    word = words[q // 128 - first, q % 64]
    random: npt.NDArray[np.uint32] = np.where(q % 128 < 64, word & 0xFFFF, word >> 16)
    return random


def _upper(x: npt.NDArray[np.float32], bits: npt.NDArray[np.uint64]) -> Halves:
    quiet = (x.view(np.uint32) >> 16) | 0x40
    return np.where(np.isnan(x), quiet, bits >> np.uint64(16)).astype(np.uint16)
