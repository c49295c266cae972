"""A training step of a model like GPT-2's smallest on a card: the engine against a plain torch twin.

The twin has the same architecture and the same first weights, bf16 autocast, SDPA, fused AdamW and clipping, written as
one writes it in torch alone, eager and under torch.compile. Both see the same random tokens; the losses of the first
steps are compared.
"""

import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import Mesh
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token
from fasttrain.monitor.throughput import peak_flops
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import MicroBatch
from fasttrain.train.machine import torch_settings

CONFIG = ModelConfig(vocab_size=50304, num_layers=12, dim=768, num_heads=12, max_seq_len=1024, tied_embeddings=True)
B, T, STEPS, WARM = 32, 1024, 12, 4
DEVICE = torch.device("cuda")


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(c.dim, c.norm_eps) for _ in range(2))
        self.q, self.k, self.v, self.o = (nn.Linear(c.dim, c.dim, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(c.dim, c.F, bias=False) for _ in range(2))
        self.down = nn.Linear(c.F, c.dim, bias=False)
        self.heads = c.num_heads

    def forward(self, x, cos, sin):
        h = self.norms[0](x)
        q, k, v = (w(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.q, self.k, self.v))
        q, k = (turn(t, cos, sin) for t in (q, k))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2))
        h = self.norms[1](x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def turn(x, cos, sin):
    first, second = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class Twin(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c.vocab_size, c.dim)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_layers))
        self.norm = nn.RMSNorm(c.dim, c.norm_eps)
        angles = torch.arange(T)[:, None] / c.rope_theta ** (torch.arange(0, c.D, 2) / c.D)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def twin_of(engine):
    """The twin with the engine's weights."""
    named = engine.stage.named
    twin = Twin(CONFIG).to(DEVICE)
    pairs = [(twin.embed, "embed"), (twin.norm, "norm")]
    for i, layer in enumerate(twin.layers):
        at = f"blocks.{i}"
        pairs += [(layer.norms[0], f"{at}.attn_norm"), (layer.norms[1], f"{at}.ffn_norm")]
        pairs += [(getattr(layer, name), f"{at}.attn.w{name}") for name in "qkvo"]
        pairs += [(getattr(layer, name), f"{at}.ffn.w_{name}") for name in ("gate", "up", "down")]
    with torch.no_grad():
        for module, name in pairs:
            module.weight.copy_(named[f"{name}.weight"])
    return twin


def batches():
    g = torch.Generator().manual_seed(7)
    tokens = torch.randint(CONFIG.vocab_size, (B, T + 1), generator=g)
    return tokens[:, :-1].contiguous().to(DEVICE), tokens[:, 1:].contiguous().to(DEVICE)


def timed(step):
    losses, times = [], []
    torch.cuda.reset_peak_memory_stats()
    for n in range(STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        losses.append(step(n))
        torch.cuda.synchronize()
        if n >= WARM:
            times.append(time.perf_counter() - start)
    return losses, statistics.median(times), torch.cuda.max_memory_allocated() / 2**30


def new_engine():
    alone = Mesh(world=SoloGroup(), dp=SoloGroup(), tp=SoloGroup(), pp=SoloGroup(), stage=SoloGroup())
    return Engine(CONFIG, alone, OptimConfig(lr=1e-3), seed=3, precision="bf16", device=DEVICE)


def of_engine(document=None):
    engine, (tokens, targets) = new_engine(), batches()
    segments = None
    if document:
        segments = (torch.arange(T, device=DEVICE) // document).int().expand(B, T).contiguous()
    sources = torch.zeros(B, T, dtype=torch.int64)
    micro = MicroBatch(tokens=tokens, targets=targets, segments=segments, sources=sources, rows=tuple(range(B)))

    def step(n):
        sums = engine.forward_backward([micro], step=n)
        engine.update(lr=1e-3, grad_norm=engine.grad_norm())
        return sums.mean_loss

    with torch_settings(4):
        return timed(step)


def of_twin(compiled):
    twin, (tokens, targets) = twin_of(new_engine()), batches()
    forward = torch.compile(twin) if compiled else twin
    decayed = [[p for p in twin.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False)]
    groups = [{"params": decayed[0], "weight_decay": 0.1}, {"params": decayed[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)

    def step(n):
        with torch.autocast("cuda", torch.bfloat16):
            loss = forward(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return timed(step)


def rows():
    """(what, who, ms, tokens, note) of each."""
    peak, per_token = peak_flops(DEVICE, torch.bfloat16).flops, flops_per_token(CONFIG, T)
    what = f"training step, {B}x{T} tokens, GPT-2 124M's shape"
    expected = None
    for who, run in {
        "ours": of_engine,
        "torch, eager": lambda: of_twin(False),
        "torch.compile": lambda: of_twin(True),
        "ours, documents of 256": lambda: of_engine(256),
    }.items():
        losses, seconds, gib = run()
        mfu = B * T / seconds * per_token / peak
        yield (
            what,
            who,
            1e3 * seconds,
            B * T,
            f"MFU {100 * mfu:.1f} %, {gib:.1f} GiB, loss {losses[0]:.4f} {losses[5]:.4f}",
        )
        if "documents" not in who:
            expected = expected or losses
            assert all(abs(x - y) <= 0.02 * y for x, y in zip(losses[:6], expected)), (who, losses, expected)
        torch.cuda.empty_cache()
