"""SwiGLU's product by its definition: every other implementation is measured against this one."""

import torch
from torch import Tensor


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """gate / (1 + exp(-gate)) * up, computed in fp32 (fp64 stays fp64), in gate's dtype; differentiable by autograd."""
    dtype = torch.promote_types(gate.dtype, torch.float32)
    g = gate.to(dtype)
    return (g * g.sigmoid() * up.to(dtype)).to(gate.dtype)
