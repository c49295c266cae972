"""The three families, and their training, as plain torch has them: functions of F, autocast, optimizers of torch.optim.

Nothing of fasttrain but the initial weights. In "exact" everything is float64: what the others' rounding is measured
from. RMSNorm, RoPE and the loss widen bf16 to fp32 first, as Hugging Face's models do.
"""

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from fasttrain.model.init import initial, param_shapes


def wide(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def same_document(segments):
    """(B, T, T): which tokens each one sees, those of its own document up to itself."""
    return (segments[:, :, None] == segments[:, None, :]).tril()


def rotate(x, places, theta):
    """x (B, T, H, D): halves are rotated against each other, as in Llama."""
    D, x = x.shape[3], wide(x)
    frequencies = theta ** (-torch.arange(0, D, 2, dtype=x.dtype) / D)
    angles = (places[..., None] * frequencies)[:, :, None]
    a, b = x.chunk(2, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


class Twin:
    """Parameters under fasttrain's names; `step` does one whole optimizer step."""

    def __init__(self, config, optim, seed, precision):
        self.config, self.optim = config, optim
        dtype = torch.float64 if precision == "exact" else torch.float32
        self.w = {name: initial(config, name, seed).to(dtype).requires_grad_() for name in param_shapes(config)}
        self.autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
        is_muon = {n: optim.name == "muon" and n.startswith("blocks.") and p.ndim == 2 for n, p in self.w.items()}
        rest = [p for n, p in self.w.items() if not is_muon[n]]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": optim.weight_decay},
            {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizers = [torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)]
        if any(is_muon.values()):
            keys = {"momentum": optim.momentum, "weight_decay": optim.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
            kind = torch.optim.Muon if precision == "bf16" else WideMuon
            self.optimizers.append(kind([p for n, p in self.w.items() if is_muon[n]], lr=optim.lr, **keys))

    def step(self, tokens, targets, segments, lr):
        """(tokens that count,): the loss of each, before the step."""
        with self.autocast:
            logits = wide(self.logits(tokens, segments))[targets >= 0]
        nll = F.cross_entropy(logits, targets[targets >= 0], reduction="none")
        (nll.mean() + self.config.z_loss * logits.logsumexp(-1).square().mean()).backward()
        self.clip()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return nll.detach().double()

    def clip(self):
        """clip_grad_norm_, which adds 1e-6 to the norm: more than fp32 rounds."""
        grads = [p.grad for p in self.w.values()]
        norm = torch.nn.utils.get_total_norm(grads)
        torch._foreach_mul_(grads, min(1.0, self.optim.clip_norm / norm.item()))

    def logits(self, tokens, segments):
        seen = same_document(segments)
        places = seen.sum(-1) - 1
        x = F.embedding(tokens, self.w["embed.weight"])
        if self.config.positions == "learned":
            x = x + F.embedding(places, self.w["positions.weight"])
        for i in range(self.config.num_layers):
            x = x + self.attention(f"blocks.{i}.attn", self.norm(f"blocks.{i}.attn_norm", x), places, seen)
            x = x + self.feed_forward(f"blocks.{i}.ffn", self.norm(f"blocks.{i}.ffn_norm", x))
        return F.linear(self.norm("norm", x), self.w.get("head.weight", self.w["embed.weight"]))

    def norm(self, name, x):
        weight, bias = self.w[name + ".weight"], self.w.get(name + ".bias")
        if bias is not None:
            return F.layer_norm(x, weight.shape, weight, bias, self.config.norm_eps)
        return F.rms_norm(wide(x), weight.shape, weight, self.config.norm_eps)

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def attention(self, name, x, places, seen):
        q, k, v = (self.linear(f"{name}.w{n}", x).unflatten(-1, (-1, self.config.D)) for n in "qkv")
        if self.config.qk_norm:
            q, k = self.norm(name + ".q_norm", q), self.norm(name + ".k_norm", k)
        if self.config.positions == "rope":
            q, k = (rotate(x, places, self.config.rope_theta) for x in (q, k))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None], enable_gqa=True)
        return self.linear(name + ".wo", y.transpose(1, 2).flatten(-2))

    def feed_forward(self, name, x):
        up = self.linear(name + ".w_up", x)
        if self.config.activation == "swiglu":
            return self.linear(name + ".w_down", F.silu(self.linear(name + ".w_gate", x)) * up)
        return self.linear(name + ".w_down", F.gelu(up, approximate="tanh"))


class WideMuon(torch.optim.Muon):
    """torch.optim.Muon, which multiplies in bf16 whatever it is given, with products in the parameters' dtype."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]), group["ns_coefficients"], group["ns_steps"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(p.shape)))


def orthogonal(x, coefficients, steps):
    a, b, c = coefficients
    y = x / x.norm()
    y = y.T if x.shape[0] > x.shape[1] else y
    for _ in range(steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y.T if x.shape[0] > x.shape[1] else y
