"""Width transfer: a learning rate and an initial deviation tuned on a narrow model, carried over to a wide one (muP).

With m = dim / mup_base_dim and Adam, beside the base model (m = 1), where nothing changes:

                        initial deviation    learning rate    forward
embedding, positions    1                    1
matrices of the blocks  1 / sqrt(m)          1 / m
norms, biases           1                    1
output matrix           1                    1                its input is multiplied by 1 / m
attention                                                     q k^T sqrt(base head_dim) / head_dim

Decay of the blocks' matrices is multiplied by m, so that rate times decay, what a step takes off a weight, stays.
Heads, key-value heads and feed-forward must grow with dim for the transfer to hold, depth and batch must stay. AdamW's
eps is not scaled: gradients must be far above it, as they are above 1e-8.
Source: Yang et al. 2022 (Tensor Programs V, arXiv:2203.03466), table 8, the form that allows tied embeddings; decay:
its authors' optimizers, and Wortsman et al. 2023 (arXiv:2309.14322).
"""

import math
import re

from fasttrain.model.config import ModelConfig

_HIDDEN = re.compile(r"blocks\.\d+\.(attn\.w[qkvo]|ffn\.w_(gate|up|down))\.weight")


def width_ratio(config: ModelConfig) -> float:
    """m: how many times wider than the tuned model; 1 without muP."""
    return 1.0 if config.mup_base_dim is None else config.dim / config.mup_base_dim


def is_hidden(name: str) -> bool:
    """Whether a parameter is a matrix from width to width."""
    return _HIDDEN.fullmatch(name) is not None


def is_embedding(name: str) -> bool:
    """Whether a parameter is an embedding: its gradient touches few rows. A tied output matrix is one."""
    return name in ("embed.weight", "positions.weight")


def lr_scale(config: ModelConfig, name: str) -> float:
    """What the learning rate of a parameter is multiplied by; its decay is divided by it."""
    return 1.0 / width_ratio(config) if is_hidden(name) else 1.0


def std_scale(config: ModelConfig, name: str) -> float:
    """What the initial deviation of a parameter is multiplied by."""
    return 1.0 / math.sqrt(width_ratio(config)) if is_hidden(name) else 1.0


def output_scale(config: ModelConfig) -> float:
    """What the input of the output matrix is multiplied by."""
    return 1.0 / width_ratio(config)


def attention_scale(config: ModelConfig) -> float | None:
    """What q k^T is multiplied by; None: 1 / sqrt(head_dim)."""
    if config.mup_base_dim is None:
        return None
    return math.sqrt(config.mup_base_head_dim or config.D) / config.D
