"""Activation checkpointing: a block keeps only its input, and backward computes it again.

Loss and gradients have the same bits: every kernel gives the same answer to the same input, and dropout's masks are a
function of the step and the row, not of a generator's state. Costs one more forward of each such block. Source: Chen
et al. 2016 (arXiv:1604.06174); every k-th block, as torchtitan's selective mode has it.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fasttrain.model.context import Context

Recompute = Literal["none", "block"] | int


def every(recompute: Recompute) -> int:
    """Every how many blocks one is recomputed: "none" 0, "block" 1, a number k itself."""
    return {"none": 0, "block": 1}[recompute] if isinstance(recompute, str) else recompute


def is_recomputed(layer: int, recompute: int) -> bool:
    """Whether the block of this number is computed again in backward: 0, k, 2 k, ..."""
    return recompute > 0 and layer % recompute == 0


def run_blocks(blocks: Iterable[nn.Module], x_BTC: Tensor, context: Context) -> Tensor:
    """Send x (B, T, C) through the blocks, of which those that `context.recompute` names keep their input alone.

    A block's tensor-parallel sums are made again too, on every rank in the same order.
    """
    for block in blocks:
        if torch.is_grad_enabled() and is_recomputed(int(block.layer), context.recompute):  # type: ignore[arg-type]
            x_BTC = checkpoint(block, x_BTC, context, use_reentrant=False, preserve_rng_state=False)
        else:
            x_BTC = block(x_BTC, context)
    return x_BTC


def run_to_norm(blocks: Iterable[nn.Module], x_BTC: Tensor, context: Context, norm: Any) -> Tensor:
    """`norm` of what `run_blocks` gives. On a card a block's last sum is made by the norm that reads it, one pass less
    over the stream forward and one backward; a block that is recomputed keeps both summands there.

    Args: norm: an RMSNorm or LayerNorm.
    """
    if not x_BTC.is_cuda:
        y: Tensor = norm(run_blocks(blocks, x_BTC, context))
        return y
    return _run_apart(blocks, x_BTC, context, norm)


def _run_apart(blocks: Iterable[nn.Module], x_BTC: Tensor, context: Context, norm: Any) -> Tensor:
    branch: Tensor | None = None
    for block in blocks:
        apart: Any = block.apart
        if torch.is_grad_enabled() and is_recomputed(int(block.layer), context.recompute):  # type: ignore[arg-type]
            x_BTC, branch = checkpoint(apart, x_BTC, branch, context, use_reentrant=False, preserve_rng_state=False)
        else:
            x_BTC, branch = apart(x_BTC, branch, context)
    y: Tensor = norm(x_BTC) if branch is None else norm.of_sum(branch, x_BTC)[0]
    return y
