"""SwiGLU (Shazeer 2020): silu(gate) * up."""

import torch.nn.functional as F
from torch import Tensor


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up; both (..., F)."""
    return F.silu(gate) * up
