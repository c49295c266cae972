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
    """The embedding's, the learned positions', and the head's when it has its own."""
    non_embedding: int
    """Blocks and norms."""


def num_params(config: ModelConfig) -> NumParams:
    """L (block matrices and vectors) + the last norm non-embedding, V C (twice when untied) + positions embedding.

    Block matrices: C D (2 H + 2 Hkv) + 3 C F, of GELU 2 C F. Vectors: two norms, biases, qk-norm's 2 D.
    """
    norm = config.dim * (2 if config.norm == "layer" else 1)
    non_embedding = config.num_layers * (_block_matrices(config) + block_vectors(config)) + norm
    embedding = config.vocab_size * config.dim * (1 if config.tied_embeddings else 2)
    if config.positions == "learned":
        embedding += config.max_seq_len * config.dim
    return NumParams(total=non_embedding + embedding, embedding=embedding, non_embedding=non_embedding)


def num_ffn_matrices(config: ModelConfig) -> int:
    """Matrices of a feed-forward: SwiGLU has a third one, the gate."""
    return 3 if config.activation == "swiglu" else 2


def block_vectors(config: ModelConfig) -> int:
    """Parameters of a block that are no matrix weights."""
    C, D = config.dim, config.D
    vectors = 2 * C * (2 if config.norm == "layer" else 1) + (2 * D if config.qk_norm else 0)
    if config.bias:
        vectors += (config.num_heads + 2 * config.Hkv) * D + 2 * C + (num_ffn_matrices(config) - 1) * config.F
    return vectors


def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Model FLOPs of one token of training (forward and backward) in sequences of `seq_len`: FLOPS_FORMULA."""
    matrices = config.num_layers * _block_matrices(config) + config.vocab_size * config.dim
    return 6 * matrices + 6 * config.num_layers * config.num_heads * config.D * seq_len


def _block_matrices(config: ModelConfig) -> int:
    return config.dim * config.D * (2 * config.num_heads + 2 * config.Hkv) + (
        num_ffn_matrices(config) * config.dim * config.F
    )
