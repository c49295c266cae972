"""The three families written out in plain torch, float64: what the tests measure rounding from. One document a row."""

import math

import torch


def logits(config, w, tokens):
    """Logits (B, T, V) in the dtype of the weights `w`, which have fasttrain's names."""
    x = w["embed.weight"][tokens]
    T = tokens.shape[1]
    if config.positions == "learned":
        x = x + w["positions.weight"][:T]
    for i in range(config.num_layers):
        block = {name.split(".", 2)[2]: tensor for name, tensor in w.items() if name.startswith(f"blocks.{i}.")}
        x = x + attention(config, block, norm(config, block, "attn_norm", x))
        x = x + feed_forward(config, block, norm(config, block, "ffn_norm", x))
    head = w["embed.weight"] if config.tied_embeddings else w["head.weight"]
    width = 1 if config.mup_base_dim is None else config.dim / config.mup_base_dim
    return norm(config, w, "norm", x) @ head.T / width


def loss(config, w, tokens):
    """Mean nats of each token after the first."""
    guessed = logits(config, w, tokens)[:, :-1].log_softmax(-1)
    return -guessed.gather(-1, tokens[:, 1:, None]).mean()


def rms(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def norm(config, w, name, x):
    if config.norm == "rms":
        return rms(x, w[f"{name}.weight"], config.norm_eps)
    centred = x - x.mean(-1, keepdim=True)
    return rms(centred, w[f"{name}.weight"], config.norm_eps) + w[f"{name}.bias"]


def linear(w, name, x):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def angles(config, T):
    D = config.D
    f = torch.tensor([config.rope_theta ** (-2 * d / D) for d in range(D // 2)], dtype=torch.float64)
    s = config.rope_scaling
    if s is not None and s.kind == "linear":
        f = f / s.factor
    elif s is not None:
        for d, old in enumerate(f.tolist()):
            turns = s.original_max_seq_len * old / (2 * math.pi)  # over the context that was trained
            if turns < s.low_freq_factor:
                f[d] = old / s.factor
            elif turns <= s.high_freq_factor:
                part = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
                f[d] = (1 - part) * old / s.factor + part * old
    return torch.arange(T, dtype=torch.float64)[:, None] * f


def turned(x, angle):
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos()[:, None].to(x.dtype), angle.sin()[:, None].to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(config, w, x):
    B, T, _ = x.shape
    D = config.D
    q, k, v = (linear(w, f"attn.w{name}", x).view(B, T, -1, D) for name in "qkv")
    if config.qk_norm:
        q, k = rms(q, w["attn.q_norm.weight"], config.norm_eps), rms(k, w["attn.k_norm.weight"], config.norm_eps)
    if config.positions == "rope":
        q, k = turned(q, angles(config, T)), turned(k, angles(config, T))
    k, v = (y.repeat_interleave(config.num_heads // config.Hkv, dim=2) for y in (k, v))
    scale = 1 / math.sqrt(D)
    if config.mup_base_dim is not None:
        scale = math.sqrt(config.mup_base_head_dim or D) / D
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale
    scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    return linear(w, "attn.wo", torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2))


def feed_forward(config, w, x):
    up = linear(w, "ffn.w_up", x)
    if config.activation == "swiglu":
        gate = linear(w, "ffn.w_gate", x)
        return linear(w, "ffn.w_down", gate * gate.sigmoid() * up)
    wide = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
    return linear(w, "ffn.w_down", wide)
