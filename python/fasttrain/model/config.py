"""The model's settings."""

from typing import Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings


class ModelConfig(Settings):
    """A decoder-only transformer: RMSNorm, RoPE, SwiGLU, grouped queries."""

    vocab_size: int = Field(0, ge=0)
    """Rows of the embedding (V); 0: the tokenizer's vocabulary, which the journey fills in."""
    num_layers: int = Field(ge=1)
    """Blocks (L)."""
    dim: int = Field(ge=1)
    """Width of the residual stream (C)."""
    num_heads: int = Field(ge=1)
    """Query heads (H)."""
    num_kv_heads: int | None = Field(None, ge=1)
    """Key and value heads (Hkv): num_heads when absent; fewer is grouped-query, 1 multi-query attention."""
    head_dim: int | None = Field(None, ge=2)
    """Width of a head (D), even: dim / num_heads when absent."""
    ffn_dim: int | None = Field(None, ge=1)
    """Hidden width of the feed-forward (F): 8/3 dim, rounded up to a multiple of 64, when absent."""
    max_seq_len: int = Field(2048, ge=1)
    """Longest context the model is meant for; training and export use it."""
    rope_theta: float = Field(10_000.0, gt=1.0)
    """Base of the rotary angles; 500,000 for contexts of 8,192 tokens and more (Llama 3)."""
    norm_eps: float = Field(1e-5, gt=0.0)
    """Added to the mean square in RMSNorm."""
    qk_norm: bool = False
    """Whether queries and keys are normalised per head before RoPE (OLMo 2, Qwen 3: steadier at high rates)."""
    tied_embeddings: bool = False
    """Whether the output matrix is the embedding."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Probability of dropping a value of the embedding and of each block's two outputs, in training."""
    z_loss: float = Field(0.0, ge=0.0)
    """Weight of mean(logsumexp(logits)^2) in the loss (PaLM: 1e-4)."""
    init_std: float = Field(0.02, gt=0.0)
    """Standard deviation of the initial weights; output projections get init_std / sqrt(2 num_layers) (GPT-2)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_heads % self.Hkv:
            raise ValueError(
                f"num_kv_heads must divide num_heads, got num_kv_heads = {self.Hkv} and num_heads = {self.num_heads}"
            )
        if self.head_dim is None and self.dim % self.num_heads:
            raise ValueError(
                "num_heads must divide dim unless head_dim is given, "
                f"got num_heads = {self.num_heads} and dim = {self.dim}"
            )
        if self.D % 2:
            raise ValueError(f"head_dim must be even (RoPE turns pairs), got head_dim = {self.D}")
        return self

    @property
    def Hkv(self) -> int:
        """Key and value heads."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def D(self) -> int:
        """Width of a head."""
        return self.dim // self.num_heads if self.head_dim is None else self.head_dim

    @property
    def F(self) -> int:
        """Hidden width of the feed-forward."""
        return -(-self.dim * 8 // (3 * 64)) * 64 if self.ffn_dim is None else self.ffn_dim
