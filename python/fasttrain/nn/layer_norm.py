"""LayerNorm (Ba et al. 2016) with a weight and a bias, alone and of a sum, as GPT-2 has it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.nn.linear import Recipe


class LayerNorm(torch.nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dim; ones and zeros at the start.

    The same face as RMSNorm. torch's own kernel is fused on CPU and GPU and takes its statistics in fp32.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(dim))
        self.bias = torch.nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) -> (..., C)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def of_sum(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return (forward(x + residual), x + residual)."""
        r = x + residual
        return self(r), r

    def recipe(self, x: Tensor) -> Recipe:
        """How `forward(x)`, and the first of `of_sum` where x is the sum, is made."""
        return Recipe(
            lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias, self.eps), (x, self.weight, self.bias)
        )

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"
