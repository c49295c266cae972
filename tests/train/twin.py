"""The same decoder written by hand with plain torch: composite norms, SDPA, cross_entropy, torch's AdamW."""

import torch
import torch.nn.functional as F

from fasttrain.model.init import initial, param_shapes


def norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def rotate(x, theta):
    """x (B, T, H, D): halves are rotated against each other, as in Llama."""
    T, D = x.shape[1], x.shape[3]
    angles = torch.arange(T)[:, None] * theta ** (-torch.arange(0, D, 2) / D)
    cos, sin = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Twin:
    """Parameters under fasttrain's names; `step` does one whole optimizer step and returns the mean loss."""

    def __init__(self, config, optim, seed):
        self.config, self.optim = config, optim
        self.w = {name: initial(config, name, seed).requires_grad_() for name in param_shapes(config)}
        groups = [
            {"params": [p for p in self.w.values() if p.ndim > 1], "weight_decay": optim.weight_decay},
            {"params": [p for p in self.w.values() if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)

    def logits(self, tokens):
        c, w = self.config, self.w
        x = F.embedding(tokens, w["embed.weight"])
        for i in range(c.num_layers):
            b = f"blocks.{i}."
            h = norm(x, w[b + "attn_norm.weight"], c.norm_eps)
            q, k, v = ((h @ w[f"{b}attn.{n}.weight"].T).unflatten(-1, (-1, c.D)) for n in ("wq", "wk", "wv"))
            q, k = rotate(q, c.rope_theta), rotate(k, c.rope_theta)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            att = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + att.transpose(1, 2).flatten(-2) @ w[b + "attn.wo.weight"].T
            h = norm(x, w[b + "ffn_norm.weight"], c.norm_eps)
            gated = F.silu(h @ w[b + "ffn.w_gate.weight"].T) * (h @ w[b + "ffn.w_up.weight"].T)
            x = x + gated @ w[b + "ffn.w_down.weight"].T
        return norm(x, w["norm.weight"], c.norm_eps) @ w.get("head.weight", w["embed.weight"]).T

    def step(self, tokens, targets, lr):
        logits = self.logits(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        z2 = torch.logsumexp(logits, -1).square()[targets >= 0].mean()
        (loss + self.config.z_loss * z2).backward()
        torch.nn.utils.clip_grad_norm_(self.w.values(), self.optim.clip_norm)
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return loss.item()
