"""Dropout on a card as a torch operator with a fake kernel and a gradient, which is the same operator: no mask is kept.

x (B,E) contiguous, fp32 or bf16; rows (B,) int64 on the same card: the face makes it so.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator
from fasttrain.nn.dropout_ref import threshold


def on_card(rows: tuple[int, ...], device: torch.device) -> Tensor:
    """(B,) int64 on the device; kept, because each layer of each step asks for the same."""
    make = _make if torch.compiler.is_compiling() else _kept  # a compiler warns of a cached function
    return make(rows, device)


def _make(rows: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64, device=device)


_kept = lru_cache(maxsize=256)(_make)


@operator("fasttrain::dropout_cuda", "cuda")
def dropout_op(x: Tensor, rows: Tensor, seed: int, step: int, site: int, p: float) -> Tensor:
    """Return x with its values dropped, and the kept ones divided by 1 - p. `seed` is read as 64 bits."""
    x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    addresses, sizes, native = cuda.pointers([x, rows, out]), list(x.shape), backend.native("dropout_cuda")
    settings = seed & 0xFFFFFFFFFFFFFFFF, step, site, threshold(p), 1.0 / (1.0 - p), x.dtype == torch.bfloat16
    cuda.launch("dropout", x.device, lambda stream: native(addresses, sizes, *settings, stream))
    return out


@dropout_op.register_fake
def _(x: Tensor, rows: Tensor, seed: int, step: int, site: int, p: float) -> Tensor:
    return x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rows, *ctx.settings = inputs
    ctx.save_for_backward(rows)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return dropout_op(dout, *ctx.saved_tensors, *ctx.settings), None, None, None, None, None


dropout_op.register_autograd(_backward, setup_context=_setup)
