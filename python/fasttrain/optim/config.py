"""The optimizer's settings and its learning rate."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings


class OptimConfig(Settings):
    """AdamW or Muon with warm-up and decay."""

    name: Literal["adamw", "muon"] = "adamw"
    """What updates the matrices of blocks; embeddings, the output matrix and norm weights are always AdamW's."""
    lr: float = Field(default=3e-4, gt=0.0)
    """Highest learning rate, reached at the end of the warm-up."""
    embed_lr_ratio: float = Field(default=1.0, gt=0.0)
    """Learning rate of embeddings (a tied output matrix is one) as a part of lr; rate times decay stays lr's."""
    min_lr_ratio: float = Field(default=0.1, ge=0.0, le=1.0)
    """Learning rate at the last step, as a part of lr."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises in a straight line from lr / warmup_steps to lr."""
    schedule: Literal["cosine", "linear", "wsd", "inverse_sqrt", "constant"] = "cosine"
    """Shape after the warm-up; wsd stays at lr and falls in a straight line at the end; inverse_sqrt falls as
    sqrt(warmup_steps / step), and not below lr * min_lr_ratio."""
    decay_fraction: float = Field(default=0.2, gt=0.0, le=1.0)
    """Part of all steps over which wsd decays; 1 for a branch that only decays (train.init_optimizer)."""
    decay_steps: int = Field(default=0, ge=0)
    """Steps over which wsd decays, instead of decay_fraction; 0: decay_fraction counts."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the gradient's running mean and of its square's."""
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the root of the running square (OLMo 2: 1e-8, steadier than 1e-5)."""
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0)
    """Muon's; its updates have AdamW's size, so that lr and weight_decay mean the same under both (Moonlight)."""
    weight_decay: float = Field(default=0.1, ge=0.0)
    """Decoupled decay of matrices, embeddings included; norm weights are not decayed."""
    clip_norm: float = Field(default=1.0, ge=0.0)
    """Largest global gradient norm; larger gradients are scaled down to it; 0: no clipping."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self


def learning_rate(config: OptimConfig, step: int, num_steps: int) -> float:
    """Return the rate of optimizer step `step` (0 is the first) of a run of `num_steps`.

    Warm-up: lr (step + 1) / warmup_steps. The last step of cosine, linear and wsd runs at lr * min_lr_ratio.
    Source: cosine: Loshchilov & Hutter 2017; wsd: Hu et al. 2024 (arXiv:2404.06395); inverse_sqrt: Vaswani et al. 2017.
    """
    if step < 0 or num_steps < 1:
        raise ValueError(
            f"learning_rate: need step >= 0 and num_steps >= 1, got step = {step}, num_steps = {num_steps}"
        )
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "inverse_sqrt":
        return config.lr * max(math.sqrt(max(config.warmup_steps, 1) / (step + 1)), config.min_lr_ratio)
    begin = config.warmup_steps
    if config.schedule == "wsd":
        begin = max(begin, num_steps - (config.decay_steps or max(1, round(num_steps * config.decay_fraction))))
    done = min(max((step + 1 - begin) / max(num_steps - begin, 1), 0.0), 1.0)  # > 0 at the first step of the decay
    height = 0.5 * (1.0 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1.0 - done
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * height)
