"""What the sides of a whole-step benchmark have in common: models, batches, first weights, the optimizer's settings."""

from dataclasses import dataclass

import torch

from fasttrain.model.config import ModelConfig
from fasttrain.model.init import initial, param_shapes

SEED, LR, BETAS, EPS, WEIGHT_DECAY, CLIP = 7, 3e-4, (0.9, 0.95), 1e-8, 0.1, 1.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the shape of its batch."""

    model: ModelConfig
    rows: int
    """Sequences of a step (B)."""
    seq_len: int
    """Tokens of a sequence (T), of which T - 1 have a target."""
    rivals: tuple[str, ...]


WORKLOADS = {
    # 12 layers of 768, vocabulary 32,000 untied: RMSNorm, RoPE, GELU, 134 million parameters
    "134m": Workload(
        model=ModelConfig(
            vocab_size=32000,
            num_layers=12,
            dim=768,
            num_heads=12,
            ffn_dim=3072,
            activation="gelu_tanh",
            max_seq_len=512,
        ),
        rows=4,
        seq_len=512,
        rivals=("compile",),
    ),
    # The lake recipe's 10-million-parameter model under a vocabulary of 32,000, which makes it 18 million: a Llama
    "10m": Workload(
        model=ModelConfig(
            family="llama",
            vocab_size=32000,
            num_layers=7,
            dim=320,
            num_heads=10,
            num_kv_heads=5,
            ffn_dim=832,
            max_seq_len=1024,
            tied_embeddings=True,
        ),
        rows=4,
        seq_len=1024,
        rivals=("compile", "trainer", "eager"),
    ),
}


def batch(work: Workload, step: int) -> torch.Tensor:
    """(B, T) int64 tokens of a step: skewed as words are, and each row a walk that a model can learn."""
    g = torch.Generator().manual_seed(1000 + step)
    V = work.model.vocab_size
    drawn = (V * torch.rand(work.rows, work.seq_len, generator=g) ** 4).long()
    repeats = torch.rand(work.rows, work.seq_len, generator=g) < 0.5
    drawn[:, 1:] = torch.where(repeats[:, 1:], (drawn[:, :-1] * 7 + 1) % V, drawn[:, 1:])
    return drawn


def targets(tokens: torch.Tensor) -> torch.Tensor:
    """(B, T) int64: the next token of each; the last one of a row has none, as in transformers."""
    return torch.cat([tokens[:, 1:], torch.full((len(tokens), 1), -100)], 1)


def first_weights(work: Workload) -> dict[str, torch.Tensor]:
    """The weights that every side starts from, under fasttrain's names."""
    return {name: initial(work.model, name, SEED) for name in param_shapes(work.model)}
