"""The model's settings."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.model.family import Family, filled
from fasttrain.nn.rope_scaling import RopeScaling


class ModelConfig(Settings):
    """A decoder-only transformer: RMSNorm, RoPE, SwiGLU and grouped queries, or what its switches say."""

    family: Family | None = None
    """llama, qwen3 or gpt2: switches that are not given are the family's, one that contradicts it is an error, and the
    model is exported as one of it. Absent: the switches as they stand, Llama's by default."""
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
    """Width of a head (D), even with RoPE: dim / num_heads when absent."""
    ffn_dim: int | None = Field(None, ge=1)
    """Hidden width of the feed-forward (F); when absent 8/3 dim, rounded up to a multiple of 64, or 4 dim of GELU."""
    max_seq_len: int = Field(2048, ge=1)
    """Longest context the model is meant for; training and export use it. Rows of the learned positions."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm with a bias."""
    positions: Literal["rope", "learned"] = "rope"
    """Rotary angles, or an embedding of the token's place in its document."""
    activation: Literal["swiglu", "gelu_tanh"] = "swiglu"
    """Of the feed-forward: SwiGLU with its third matrix, or GELU in its tanh form."""
    bias: bool = False
    """Whether the matrices of the blocks have biases."""
    rope_theta: float = Field(10_000.0, gt=1.0)
    """Base of the rotary angles; 500,000 for contexts of 8,192 tokens and more (Llama 3)."""
    rope_scaling: RopeScaling | None = None
    """How the rotary angles are slowed down for contexts longer than those trained first; absent: not."""
    norm_eps: float = Field(1e-5, gt=0.0)
    """Added to the mean square (the variance) in the norms."""
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
    mup_base_dim: int | None = Field(None, ge=1)
    """muP (model/width.py): the dim at which learning rate and init_std were tuned; both are carried over to this dim.
    Absent: no width transfer."""
    mup_base_head_dim: int | None = Field(None, ge=1)
    """muP: the head_dim of the tuned model, where this one's differs: attention is scaled by its root over head_dim."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return filled(data) if isinstance(data, dict) else data

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
        if self.positions == "rope" and self.D % 2:
            raise ValueError(f"head_dim must be even (RoPE turns pairs), got head_dim = {self.D}")
        if self.positions == "learned" and self.rope_scaling is not None:
            raise ValueError("rope_scaling needs positions = 'rope', got positions = 'learned'; leave it out")
        if self.mup_base_head_dim is not None and self.mup_base_dim is None:
            raise ValueError("mup_base_head_dim needs mup_base_dim; give the dim of the tuned model too")
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
        if self.ffn_dim is not None:
            return self.ffn_dim
        return 4 * self.dim if self.activation == "gelu_tanh" else -(-self.dim * 8 // (3 * 64)) * 64
