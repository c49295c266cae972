"""The rival's model: a decoder as it is commonly written in plain torch, with fasttrain's parameter names."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.D = c.D
        self.wq = nn.Linear(c.dim, c.num_heads * c.D, bias=False)
        self.wk = nn.Linear(c.dim, c.Hkv * c.D, bias=False)
        self.wv = nn.Linear(c.dim, c.Hkv * c.D, bias=False)
        self.wo = nn.Linear(c.num_heads * c.D, c.dim, bias=False)
        self.is_grouped = c.Hkv != c.num_heads

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        q, k, v = (w(x).view(B, T, -1, self.D).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.is_grouped)
        return self.wo(y.transpose(1, 2).reshape(B, T, -1))


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat((-b, a), -1) * sin).to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        if c.activation == "swiglu":
            self.w_gate = nn.Linear(c.dim, c.F, bias=False)
        self.w_up = nn.Linear(c.dim, c.F, bias=False)
        self.w_down = nn.Linear(c.F, c.dim, bias=False)
        self.has_gate = c.activation == "swiglu"

    def forward(self, x):
        if self.has_gate:
            return self.w_down(F.silu(self.w_gate(x)) * self.w_up(x))
        return self.w_down(F.gelu(self.w_up(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn_norm = nn.RMSNorm(c.dim, c.norm_eps)
        self.attn = Attention(c)
        self.ffn_norm = nn.RMSNorm(c.dim, c.norm_eps)
        self.ffn = FeedForward(c)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.attn_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x))


class GPT(nn.Module):
    """Tokens and targets (B, T) -> mean loss."""

    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c.vocab_size, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_layers))
        self.norm = nn.RMSNorm(c.dim, c.norm_eps)
        self.head = nn.Linear(c.dim, c.vocab_size, bias=False)
        if c.tied_embeddings:
            self.head.weight = self.embed.weight
        frequencies = c.rope_theta ** (-torch.arange(0, c.D, 2) / c.D)
        angles = torch.arange(c.max_seq_len)[:, None] * frequencies
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens, targets):
        x, T = self.embed(tokens), tokens.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:T], self.sin[:T])
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=-100)
