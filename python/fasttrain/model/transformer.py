"""The transformer. It knows no ranks: head counts are read off the weights, so that whoever slices wq, wk, wv and wo by
heads, or the feed-forward by hidden units, from outside gets a working slice of the model.

x (B,T,C) -> norm -> q (B,T,H,D), k, v (B,T,Hkv,D) -> rope -> attention (B,T,H,D) -> + x
          -> norm -> swiglu or gelu (B,T,F) -> + x

With learned positions there is no rope: x is the sum of two embeddings.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasttrain.model.config import ModelConfig
from fasttrain.model.context import Cache, Context
from fasttrain.model.recompute import run_to_norm
from fasttrain.model.width import attention_scale, output_scale
from fasttrain.nn.attention import attention
from fasttrain.nn.dropout import DropoutKey, dropout
from fasttrain.nn.elementwise import add
from fasttrain.nn.embedding import Embedding
from fasttrain.nn.gelu import gelu
from fasttrain.nn.layer_norm import LayerNorm
from fasttrain.nn.linear import Linear, Recipe, project
from fasttrain.nn.linear_cross_entropy import linear_token_loss
from fasttrain.nn.loss import IGNORED
from fasttrain.nn.rms_norm import RMSNorm
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.segments import check_segments, key_ranges
from fasttrain.nn.swiglu import swiglu


def make_norm(config: ModelConfig) -> RMSNorm | LayerNorm:
    """The norm of the residual stream."""
    return (RMSNorm if config.norm == "rms" else LayerNorm)(config.dim, config.norm_eps)


class Attention(nn.Module):
    """Grouped-query attention, with RoPE when the context has its tables."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim, self.scale = layer, config.D, attention_scale(config)
        self.wq = Linear(config.dim, config.num_heads * config.D, bias=config.bias)
        self.wk = Linear(config.dim, config.Hkv * config.D, bias=config.bias)
        self.wv = Linear(config.dim, config.Hkv * config.D, bias=config.bias)
        self.wo = Linear(config.num_heads * config.D, config.dim, bias=config.bias)
        self.q_norm = RMSNorm(config.D, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.D, config.norm_eps) if config.qk_norm else None

    def forward(self, x_BTC: Tensor, context: Context, recipe: Recipe | None = None) -> Tensor:
        """Shapes: x (B, T, C), made by `recipe` -> (B, T, C)."""
        parts = project((self.wq, self.wk, self.wv), x_BTC, recipe)
        q, k, v = (torch.unflatten(part, -1, (-1, self.head_dim)) for part in parts)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if context.cos is not None and context.sin is not None:
            q, k = rope(q, context.cos, context.sin), rope(k, context.cos, context.sin)
        if context.cache is not None:
            k, v = context.cache.append(self.layer, k, v)
        seen = context.ranges
        segments = context.segments if seen is None else None
        out = attention(
            q, k, v, causal=seen is None, segments=segments, ranges=seen, scale=self.scale, impl=context.impl
        )
        y: Tensor = self.wo(out.flatten(-2))
        return y


class FeedForward(nn.Module):
    """SwiGLU feed-forward, or one of GELU, which has no gate."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w_gate = Linear(config.dim, config.F, bias=config.bias) if config.activation == "swiglu" else None
        self.w_up = Linear(config.dim, config.F, bias=config.bias)
        self.w_down = Linear(config.F, config.dim, bias=config.bias)

    def forward(self, x_BTC: Tensor, recipe: Recipe | None = None) -> Tensor:
        """Shapes: x (B, T, C), made by `recipe` -> (B, T, C)."""
        layers = (self.w_up,) if self.w_gate is None else (self.w_gate, self.w_up)
        hidden = Recipe(gelu if self.w_gate is None else swiglu, project(layers, x_BTC, recipe))
        y: Tensor = self.w_down(hidden.make(*hidden.tensors), hidden)
        return y


class Block(nn.Module):
    """One layer: pre-norm attention, then pre-norm feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.attn_norm = make_norm(config)
        self.attn = Attention(config, layer)
        self.ffn_norm = make_norm(config)
        self.ffn = FeedForward(config)

    def forward(self, x_BTC: Tensor, context: Context) -> Tensor:
        """Shapes: x (B, T, C) -> (B, T, C)."""
        return add(*self.apart(x_BTC, None, context))

    def apart(self, x_BTC: Tensor, branch_BTC: Tensor | None, context: Context) -> tuple[Tensor, Tensor]:
        """Return the two summands of `forward(x + branch)`, so that the norm behind adds them in its own pass."""
        key, x = context.dropout, x_BTC
        if branch_BTC is None:
            normed = self.attn_norm(x)
        else:
            normed, x = self.attn_norm.of_sum(branch_BTC, x)
        branch = self.attn(normed, context, self.attn_norm.recipe(x))
        normed, x = self.ffn_norm.of_sum(dropout(branch, self.dropout, key, self.layer, "attn"), x)
        branch = self.ffn(normed, self.ffn_norm.recipe(x))
        return x, dropout(branch, self.dropout, key, self.layer, "ffn")


class Head(nn.Module):
    """The output matrix (V, C), its own or the embedding's, and the loss of each token."""

    even = False
    """Promised of targets and losses (`linear_token_loss`). Whoever checks the one and makes the other may set it."""

    def __init__(self, config: ModelConfig, embed: nn.Embedding) -> None:
        super().__init__()
        self.z_loss, self.scale = config.z_loss, output_scale(config)
        weight = None if config.tied_embeddings else nn.Parameter(torch.empty(config.vocab_size, config.dim))
        self.register_parameter("weight", weight)
        self._tied = [embed] if weight is None else []  # in a list, so that the embedding is not registered twice

    def matrix(self) -> Tensor:
        """(V, C): the weight that is multiplied, also when it is the embedding's."""
        weight = self._tied[0].weight if self._tied else self.weight
        assert isinstance(weight, Tensor)
        return weight

    def scaled(self, x_BTC: Tensor) -> Tensor:
        """The input of the matrix: x (B, T, C), after the last norm, times muP's output multiplier."""
        return x_BTC if self.scale == 1.0 else x_BTC * self.scale

    def logits(self, x_BTC: Tensor) -> Tensor:
        """Shapes: x (B, T, C), after the last norm -> (B, T, V), in the dtype of the matrix product."""
        return F.linear(self.scaled(x_BTC), self.matrix())

    def forward(self, x_BTC: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (nll, z2), each (B, T) fp32: -log p(target) and logsumexp(logits)^2; 0 where target is -100."""
        return linear_token_loss(self.scaled(x_BTC), self.matrix(), targets_BT, z_loss=self.z_loss, even=self.even)


class Transformer(nn.Module):
    """embed (+ positions) -> blocks -> norm -> head; the parts may also be called one by one (pipeline stages do)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocab_size < 1:
            raise ValueError("Transformer: vocab_size must be at least 1, got 0; set it to the tokenizer's vocab_size")
        self.config = config
        self.embed = Embedding(config.vocab_size, config.dim)
        self.positions = Embedding(config.max_seq_len, config.dim) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = make_norm(config)
        self.head = Head(config, self.embed)

    def context(
        self,
        num_tokens: int,
        *,
        segments: Tensor | None = None,
        dropout: DropoutKey | None = None,
        cache: Cache | None = None,
        recompute: int = 0,
        device: torch.device | None = None,
        impl: str | None = None,
    ) -> Context:
        """Build what the blocks need for micro-batches of `num_tokens` (T) tokens a row. `dropout=None`: no dropout.

        Raises: ValueError: wrong segments, or more tokens than there are learned positions.
        """
        if segments is not None:
            check_segments("context", segments, (segments.shape[0], num_tokens))
        config, start = self.config, 0 if cache is None else cache.num_tokens
        where = positions(num_tokens, segments, start=start, device=device)
        cos: Tensor | None = None
        sin: Tensor | None = None
        if config.positions == "rope":
            cos, sin = rope_tables(where, config.D, config.rope_theta, config.rope_scaling)
        elif start + num_tokens > config.max_seq_len:
            raise ValueError(
                f"context: learned positions hold at most max_seq_len = {config.max_seq_len} tokens, got "
                f"{start + num_tokens}; use shorter sequences"
            )
        ranges = None
        if segments is not None and segments.is_cuda:  # once, for what it takes there is a launch for each small step
            ranges = key_ranges(num_tokens, num_tokens, causal=True, segments=segments)
        return Context(
            positions=where,
            cos=cos,
            sin=sin,
            segments=segments,
            ranges=ranges,
            dropout=dropout,
            cache=cache,
            recompute=recompute,
            impl=impl,
        )

    def embed_tokens(self, tokens_BT: Tensor, context: Context | None = None) -> Tensor:
        """Shapes: tokens (B, T) integer -> (B, T, C), after dropout when the context has a key."""
        x: Tensor = self.embed(tokens_BT)
        if self.positions is not None:
            if context is None:
                context = self.context(tokens_BT.shape[1], device=tokens_BT.device)
            x = x + self.positions(context.positions)
        return x if context is None else dropout(x, self.config.dropout, context.dropout, -1, "embed")

    def hidden(self, tokens_BT: Tensor, context: Context) -> Tensor:
        """Shapes: tokens (B, T) -> (B, T, C), after the last norm."""
        return run_to_norm(self.blocks, self.embed_tokens(tokens_BT, context), context, self.norm)

    def forward(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        segments: Tensor | None = None,
        *,
        dropout: DropoutKey | None = None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (nll, z2), each (B, T) fp32: the loss of each token and logsumexp^2; 0 where target is -100."""
        if context is None:
            context = self.context(tokens_BT.shape[1], segments=segments, dropout=dropout, device=tokens_BT.device)
        nll, z2 = self.head(self.hidden(tokens_BT, context), targets_BT)
        return nll, z2

    def logits(self, tokens_BT: Tensor, segments: Tensor | None = None) -> Tensor:
        """Shapes: tokens (B, T) -> logits (B, T, V)."""
        context = self.context(tokens_BT.shape[1], segments=segments, device=tokens_BT.device)
        return self.head.logits(self.hidden(tokens_BT, context))

    def new_cache(self, max_tokens: int) -> Cache:
        """An empty KV cache for `decode`: room for the prompt and what is generated."""
        return Cache(self.config.num_layers, max_tokens)

    @torch.no_grad()
    def decode(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """Append tokens (the prompt, then one at a time) to the cache; return the logits (B, V) after the last one."""
        num_tokens = tokens_BT.shape[1]
        if num_tokens == 0:
            raise ValueError("decode: tokens must hold at least one token a row, got none")
        context = self.context(num_tokens, cache=cache, device=tokens_BT.device)
        x = self.hidden(tokens_BT, context)
        cache.num_tokens += num_tokens
        return self.head.logits(x[:, -1])


__all__ = ["IGNORED", "Attention", "Block", "FeedForward", "Head", "Transformer", "make_norm"]
