"""Meshes for one process: a rank's place without the ranks."""

from types import SimpleNamespace

import torch

from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import Mesh
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import MicroBatch

SMALL = ModelConfig(vocab_size=61, num_layers=3, dim=16, num_heads=4, num_kv_heads=2, ffn_dim=30, max_seq_len=16)


def place(*, dp=(0, 1), tp=(0, 1), pp=(0, 1)):
    """The mesh as rank `axis[0]` of `axis[1]` sees it; good for questions, not for talking."""
    groups = {name: SimpleNamespace(rank=r, size=n) for name, (r, n) in {"dp": dp, "tp": tp, "pp": pp}.items()}
    groups["stage"] = SimpleNamespace(rank=dp[0] * tp[1] + tp[0], size=dp[1] * tp[1])
    return Mesh(world=SimpleNamespace(rank=0, size=dp[1] * tp[1] * pp[1]), **groups)


def alone():
    """The mesh of one process."""
    return Mesh(world=SoloGroup(), dp=SoloGroup(), tp=SoloGroup(), pp=SoloGroup(), stage=SoloGroup())


def engine(config=SMALL, optim=None, **kwargs):
    return Engine(config, alone(), optim or OptimConfig(lr=1e-2), seed=5, num_sources=2, **kwargs)


def rows(seed, targets_by_row, config=SMALL):
    """A micro-batch with the given number of targets in each row."""
    g = torch.Generator().manual_seed(seed)
    T = config.max_seq_len
    tokens = torch.randint(config.vocab_size, (len(targets_by_row), T + 1), generator=g)
    targets = tokens[:, 1:].clone()
    for row, count in enumerate(targets_by_row):
        targets[row, count:] = -100
    sources = (torch.arange(len(targets_by_row)) % 2)[:, None].expand_as(targets).contiguous()
    return MicroBatch(
        tokens=tokens[:, :-1], targets=targets, segments=None, sources=sources, rows=tuple(range(len(targets_by_row)))
    )


def cut(micro, sizes):
    """The same rows as several micro-batches."""
    pieces, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        pieces.append(
            MicroBatch(
                tokens=micro.tokens[part],
                targets=micro.targets[part],
                segments=None,
                sources=micro.sources[part],
                rows=micro.rows[part],
            )
        )
        start += size
    return pieces
