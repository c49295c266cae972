"""Parameters and floating-point operations, by closed form."""

from dataclasses import dataclass

from fasttrain.model.config import ModelConfig

FLOPS_FORMULA = "6 * (non-embedding matrix weights + V * C of the head) + 6 * L * H * D * T"
"""FLOPs a trained token: 2 a weight forward and 4 backward, and causal attention's 12 L H D T halved because a query
sees T / 2 keys on average (PaLM's formula, Chowdhery et al. 2022, appendix B, counts the full square)."""


@dataclass(frozen=True, kw_only=True)
class NumParams:
    """Parameters of a model."""

    total: int
    """All of them."""
    embedding: int
    """The embedding's, and the head's when it has its own."""
    non_embedding: int
    """Blocks and norms."""


def num_params(config: ModelConfig) -> NumParams:
    """L (C D (2 H + 2 Hkv) + 3 C F + 2 C [+ 2 D]) + C non-embedding, V C (twice when untied) embedding."""
    C, D = config.dim, config.D
    block = _block_matrices(config) + 2 * C + (2 * D if config.qk_norm else 0)
    non_embedding = config.num_layers * block + C
    embedding = config.vocab_size * C * (1 if config.tied_embeddings else 2)
    return NumParams(total=non_embedding + embedding, embedding=embedding, non_embedding=non_embedding)


def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Model FLOPs of one token of training (forward and backward) in sequences of `seq_len`: FLOPS_FORMULA."""
    matrices = config.num_layers * _block_matrices(config) + config.vocab_size * config.dim
    return 6 * matrices + 6 * config.num_layers * config.num_heads * config.D * seq_len


def _block_matrices(config: ModelConfig) -> int:
    return config.dim * config.D * (2 * config.num_heads + 2 * config.Hkv) + 3 * config.dim * config.F
