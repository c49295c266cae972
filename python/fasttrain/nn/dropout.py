"""Dropout whose mask is a pure function of (seed, step, global sequence index, layer, site): layouts agree."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DropoutKey:
    """What the masks of one micro-batch depend on."""

    seed: int
    """The run's seed."""
    step: int
    """The optimizer step, so that each step draws anew."""
    rows: tuple[int, ...]
    """Index of each of the B sequences in the global batch of the step."""


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any printable parts: the same on every machine."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def dropout(x_BTC: Tensor, p: float, key: DropoutKey | None, layer: int, site: str) -> Tensor:
    """Zero each value with probability p and scale the rest by 1 / (1 - p). Without a key (evaluation) x is returned.

    The masks are drawn on the CPU, one generator a sequence, so that every device and every split of the batch agrees;
    T and C must be whole (tensor parallelism applies dropout after its all-reduce).
    Shapes: x (B, T, C), key.rows (B).
    """
    if key is None or p == 0.0:
        return x_BTC
    if len(key.rows) != len(x_BTC):
        raise ValueError(
            f"dropout: key.rows must hold one index for each of the {len(x_BTC)} rows, got {len(key.rows)}"
        )
    keep = torch.empty(x_BTC.shape, dtype=torch.bool)
    for row, index in enumerate(key.rows):
        generator = torch.Generator().manual_seed(seed_of("dropout", key.seed, key.step, index, layer, site))
        keep[row].bernoulli_(1.0 - p, generator=generator)
    return x_BTC * keep.to(x_BTC.device) * (1.0 / (1.0 - p))
