"""Longer contexts out of trained rotary angles: frequencies slowed down, all alike or by their wavelength.

linear   f / factor                                   (Chen et al. 2023, position interpolation)
llama3   by wavelength w = 2 pi / f, with N the original context:
         w < N / high: f;   w > N / low: f / factor;   between: (1 - s) f / factor + s f,
         s = (N / w - low) / (high - low)             (Llama 3.1, Grattafiori et al. 2024)
"""

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fasttrain.core.config import Settings


class RopeScaling(Settings):
    """How RoPE's frequencies are slowed down."""

    kind: Literal["linear", "llama3"] = "llama3"
    """linear: every frequency; llama3: only those whose wavelength exceeds what was trained."""
    factor: float = Field(8.0, ge=1.0)
    """How many times slower."""
    low_freq_factor: float = Field(1.0, gt=0.0)
    """llama3: wavelengths over original_max_seq_len / low_freq_factor are slowed by the whole factor."""
    high_freq_factor: float = Field(4.0, gt=0.0)
    """llama3: wavelengths under original_max_seq_len / high_freq_factor stay."""
    original_max_seq_len: int = Field(8192, ge=1)
    """llama3: context that the frequencies were trained for."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor must be greater than low_freq_factor, got {self.high_freq_factor} and "
                f"{self.low_freq_factor}"
            )
        return self

    def scaled(self, frequencies: Tensor) -> Tensor:
        """Shapes: (D / 2,) fp32 radians a token -> the same."""
        slow = frequencies / self.factor
        if self.kind == "linear":
            return slow
        low, high, known = self.low_freq_factor, self.high_freq_factor, self.original_max_seq_len
        wavelength = 2 * math.pi / frequencies
        share = (known / wavelength - low) / (high - low)
        between = (1 - share) * slow + share * frequencies
        return torch.where(wavelength < known / high, frequencies, torch.where(wavelength > known / low, slow, between))
