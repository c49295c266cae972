"""Dropout whose mask is a pure function of (seed, step, global sequence index, layer, site): layouts agree."""

import hashlib
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.nn import dropout_cuda, dropout_ref
from fasttrain.nn.dropout_op import dropout_op

SITES = ("embed", "attn", "ffn")
"""Where a layer may drop; the embedding is layer -1."""

_IMPLS = backend.implementations("dropout")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


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


def dropout(
    x_BTC: Tensor, p: float, key: DropoutKey | None, layer: int, site: str, *, impl: str | None = None
) -> Tensor:
    """Zero each value with probability p and scale the rest by 1 / (1 - p). Without a key (evaluation) x is returned.

    Which values is drawn by Philox from the place of a value in its sequence, by its sequence: every implementation,
    number of threads, device and split of the batch agrees, and backward draws again instead of keeping a mask.
    T and C must be whole (tensor parallelism applies dropout after its all-reduce).
    Shapes: x (B, T, C), key.rows (B) -> (B, T, C).
    Args:
        layer, site: at least -1, and one of SITES.
        impl: "reference" (by definition), "torch" (a mask multiplied into x, drawn on the CPU where x's device has no
            kernel), a native name (CPU, fp32 and bf16) or "cuda" (the same on a card); when None, what FASTTRAIN_IMPL
            names, else the fastest that runs here.
    Raises: ValueError: a wrong p, key, layer, site or impl.
    """
    if key is None or p == 0.0:
        return x_BTC
    if not 0.0 < p < 1.0:
        raise ValueError(f"dropout: p must lie in [0, 1), got {p}")
    if len(key.rows) != len(x_BTC):
        raise ValueError(
            f"dropout: key.rows must hold one index for each of the {len(x_BTC)} rows, got {len(key.rows)}"
        )
    if layer < -1 or site not in SITES:
        raise ValueError(f"dropout: layer must be at least -1 and site one of {SITES}, got {layer} and {site!r}")
    if not all(0 <= x < 2**32 for x in (key.step, *key.rows)):
        raise ValueError(f"dropout: key.step and key.rows must lie in [0, 2^32), got {key.step} and {key.rows}")
    if x_BTC.numel() >= max(1, len(x_BTC)) * 2**34:
        raise ValueError(f"dropout: a row must hold fewer than 2^34 values, got shape {tuple(x_BTC.shape)}")
    impl = _choose(x_BTC, impl)
    seed = (key.seed & 0xFFFFFFFFFFFFFFFF ^ 1 << 63) - (1 << 63)  # the operator's integers have a sign
    settings = seed, key.step, (layer + 1) * len(SITES) + SITES.index(site), p
    flat = x_BTC.reshape(len(x_BTC), x_BTC.numel() // max(1, len(x_BTC)))
    if impl == "torch":
        factor = _factor(flat, key.rows, settings).view(x_BTC.shape)
        return x_BTC * factor.to(x_BTC.device, x_BTC.dtype)
    if impl == "cuda":
        out: Tensor = dropout_cuda.dropout_op(flat.contiguous(), dropout_cuda.on_card(key.rows, flat.device), *settings)
        return out.view(x_BTC.shape)
    rows = torch.tensor(key.rows, dtype=torch.int64)
    if impl == "reference":
        return dropout_ref.dropout(flat, rows, *settings).view(x_BTC.shape)
    out = dropout_op(flat.contiguous(), rows, *settings, impl)
    return out.view(x_BTC.shape)


def _factor(flat: Tensor, rows: tuple[int, ...], settings: tuple[int, int, int, float]) -> Tensor:
    """What each value of x is multiplied by (B, E), fp32."""
    if cuda.is_built(flat):
        on_card: Tensor = dropout_cuda.dropout_op(
            torch.ones(flat.shape, device=flat.device), dropout_cuda.on_card(rows, flat.device), *settings
        )
        return on_card
    ones, index = torch.ones(flat.shape), torch.tensor(rows, dtype=torch.int64)
    if _IMPLS[0] == "reference":
        return dropout_ref.dropout(ones, index, *settings)
    factor: Tensor = dropout_op(ones, index, *settings, _IMPLS[0])
    return factor


def _choose(x: Tensor, impl: str | None) -> str:
    is_native = x.device.type == "cpu" and x.dtype in _NATIVE_DTYPES
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl in (None, "cuda") and x.dtype in _NATIVE_DTYPES and cuda.is_built(x):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"dropout: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"dropout: impl {impl!r} takes fp32 or bf16 on the CPU, got {x.dtype} on {x.device.type}; use impl='torch'"
        )
    return impl
