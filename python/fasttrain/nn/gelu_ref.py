"""GELU's tanh formula by its definition: every other implementation is measured against this one."""

import math

import torch
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), computed in fp32 (fp64 stays fp64), in x's dtype.

    Differentiable by autograd. Beyond |x| = 100, where tanh is exactly -1 or 1, u is that of 100: x^3 is finite.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    near = wide.clamp(-100, 100)
    u = math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)
    return (0.5 * wide * (1 + u.tanh())).to(x.dtype)
