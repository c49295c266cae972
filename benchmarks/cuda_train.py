"""A training step on a card: the engine against a plain torch twin, for a model like GPT-2's smallest, whose
kernels are short enough for the host to matter, and for one of 720 M parameters.

The twin has the same architecture and the same first weights, bf16 autocast, SDPA, fused AdamW and clipping, written as
one writes it in torch alone, eager and under torch.compile. Both see the same random tokens; the losses of the first
steps are compared.
"""

import gc
import statistics
import time
from dataclasses import dataclass

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

DEVICE = torch.device("cuda")


@dataclass(frozen=True)
class Case:
    what: str
    config: ModelConfig
    rows: int
    steps: int
    warm: int = 4

    @property
    def tokens(self):
        return self.config.max_seq_len


SHAPE = {"vocab_size": 50304, "num_layers": 12, "tied_embeddings": True}
SMALL = Case("GPT-2 124M's shape", ModelConfig(dim=768, num_heads=12, max_seq_len=1024, **SHAPE), 32, 12)
LARGE = Case("12 layers of 2048", ModelConfig(dim=2048, num_heads=16, max_seq_len=2048, **SHAPE), 16, 7)


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
        angles = torch.arange(c.max_seq_len)[:, None] / c.rope_theta ** (torch.arange(0, c.D, 2) / c.D)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def twin_of(config, first):
    """The twin with the engine's first weights."""
    twin = Twin(config).to(DEVICE)
    pairs = [(twin.embed, "embed"), (twin.norm, "norm")]
    for i, layer in enumerate(twin.layers):
        at = f"blocks.{i}"
        pairs += [(layer.norms[0], f"{at}.attn_norm"), (layer.norms[1], f"{at}.ffn_norm")]
        pairs += [(getattr(layer, name), f"{at}.attn.w{name}") for name in "qkvo"]
        pairs += [(getattr(layer, name), f"{at}.ffn.w_{name}") for name in ("gate", "up", "down")]
    with torch.no_grad():
        for module, name in pairs:
            module.weight.copy_(first[f"{name}.weight"])
    return twin


def batches(case):
    g = torch.Generator().manual_seed(7)
    tokens = torch.randint(case.config.vocab_size, (case.rows, case.tokens + 1), generator=g)
    return tokens[:, :-1].contiguous().to(DEVICE), tokens[:, 1:].contiguous().to(DEVICE)


def timed(case, step):
    losses, times = [], []
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for n in range(case.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        losses.append(step(n))
        torch.cuda.synchronize()
        if n >= case.warm:
            times.append(time.perf_counter() - start)
    return losses, statistics.median(times), torch.cuda.max_memory_allocated() / 2**30


def new_engine(case, *, cuda_graph=True):
    alone = Mesh(world=SoloGroup(), dp=SoloGroup(), tp=SoloGroup(), pp=SoloGroup(), stage=SoloGroup())
    optim = OptimConfig(lr=1e-3)
    return Engine(case.config, alone, optim, seed=3, precision="bf16", device=DEVICE, cuda_graph=cuda_graph)


def of_engine(case, first=None, *, document=None, cuda_graph=True):
    """Args: first: where its first weights are put."""
    engine, (tokens, targets) = new_engine(case, cuda_graph=cuda_graph), batches(case)
    if first is not None:
        first.update({name: p.detach().to("cpu", copy=True) for name, p in engine.stage.named.items()})
    segments, shape = None, tokens.shape
    if document:
        segments = (torch.arange(case.tokens, device=DEVICE) // document).int().expand(shape).contiguous()
    micro = MicroBatch(
        tokens=tokens,
        targets=targets,
        segments=segments,
        sources=torch.zeros(shape, dtype=torch.int64),
        rows=tuple(range(case.rows)),
        counted=torch.ones(shape, dtype=torch.bool),
    )

    def step(n):
        sums = engine.forward_backward([micro], step=n)
        engine.update(lr=1e-3, grad_norm=engine.grad_norm())
        return sums.mean_loss

    with torch_settings(4):
        return timed(case, step)


def of_twin(case, first, *, compiled):
    twin, (tokens, targets) = twin_of(case.config, first), batches(case)
    forward = torch.compile(twin, dynamic=False) if compiled else twin  # the second case is not the first's with sizes
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

    return timed(case, step)


def rows_of(case, runs):
    """(what, who, ms, tokens, note) of each."""
    peak, per_token = peak_flops(DEVICE, torch.bfloat16).flops, flops_per_token(case.config, case.tokens)
    num_tokens, expected = case.rows * case.tokens, None
    what = f"training step, {case.rows}x{case.tokens} tokens, {case.what}"
    for who, run in runs.items():
        try:
            losses, seconds, gib = run()
        except torch.OutOfMemoryError:
            print(f"{what}: {who}: no memory", flush=True)
            continue
        mfu = num_tokens / seconds * per_token / peak
        note = f"MFU {100 * mfu:.1f} %, {gib:.1f} GiB, loss {losses[0]:.4f} {losses[5]:.4f}"
        yield what, who, 1e3 * seconds, num_tokens, note
        if "documents" not in who:
            expected = expected or losses
            assert all(abs(x - y) <= 0.02 * y for x, y in zip(losses[:6], expected)), (who, losses, expected)


def rows():
    first = {}
    yield from rows_of(
        SMALL,
        {
            "ours": lambda: of_engine(SMALL, first),
            "ours, without a CUDA graph": lambda: of_engine(SMALL, cuda_graph=False),
            "torch, eager": lambda: of_twin(SMALL, first, compiled=False),
            "torch.compile": lambda: of_twin(SMALL, first, compiled=True),
            "ours, documents of 256": lambda: of_engine(SMALL, document=256),
        },
    )
    first.clear()
    yield from rows_of(
        LARGE,
        {
            "ours": lambda: of_engine(LARGE, first),
            "torch, eager": lambda: of_twin(LARGE, first, compiled=False),
            "torch.compile": lambda: of_twin(LARGE, first, compiled=True),
        },
    )
