"""The loss of each token from its logits."""

from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""A target that counts for nothing (padding, a document's last token)."""


class _LogSumExp(torch.autograd.Function):
    """(lse, picked) of each row. Its gradient, softmax * dlse with dpicked added at the target, takes one buffer."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, index_N: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_NV.float()
        lse = logits.logsumexp(-1)
        ctx.save_for_backward(logits_NV, index_N, lse)
        return lse, logits.gather(1, index_N[:, None])[:, 0]

    @staticmethod
    def backward(ctx: Any, dlse: Tensor, dpicked: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        logits_NV, index_N, lse = ctx.saved_tensors
        dlogits = (logits_NV.float() - lse[:, None]).exp_().mul_(dlse[:, None])
        dlogits.scatter_add_(1, index_N[:, None], dpicked[:, None])
        return dlogits.to(logits_NV.dtype), None


def token_loss(logits_BTV: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return (nll, z2): -log softmax(logits)[target] and logsumexp(logits)^2, computed in fp32; 0 where target is -100.

    Shapes: logits (..., V), targets (...) integer -> (...) fp32 twice.
    """
    if logits_BTV.shape[:-1] != targets_BT.shape:
        raise ValueError(
            f"token_loss: targets must have shape {tuple(logits_BTV.shape[:-1])}, got {tuple(targets_BT.shape)}"
        )
    targets = targets_BT.reshape(-1)
    ignored = targets == IGNORED
    index = targets.masked_fill(ignored, 0).long()
    lse, picked = _LogSumExp.apply(logits_BTV.flatten(0, -2), index)  # type: ignore[no-untyped-call]
    nll = (lse - picked).masked_fill(ignored, 0.0)
    z2 = lse.square().masked_fill(ignored, 0.0)
    return nll.view(targets_BT.shape), z2.view(targets_BT.shape)


def sums_by_source(loss: Tensor, targets: Tensor, sources: Tensor, num_sources: int) -> tuple[Tensor, Tensor]:
    """Return (sums (S,) fp64, tokens (S,) int64): the loss of each source's tokens that count, and their number.

    Added up in fp64 in the order of tokens, so the bits depend on nothing else. No gradient goes through it.
    Shapes: loss, targets, sources (...), one shape; sources int64 in [0, S).
    Raises: ValueError: a wrong shape or a source outside.
    """
    if not loss.shape == targets.shape == sources.shape:
        raise ValueError(
            "sums_by_source: loss, targets and sources must have one shape, got "
            f"{tuple(loss.shape)}, {tuple(targets.shape)} and {tuple(sources.shape)}"
        )
    index = sources.reshape(-1).cpu()
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= num_sources):
        raise ValueError(
            f"sums_by_source: sources must lie in [0, {num_sources}), got {int(index.min())} to {int(index.max())}"
        )
    kept = targets.reshape(-1).cpu() != IGNORED
    values = loss.detach().reshape(-1).to("cpu", torch.float64).masked_fill(~kept, 0.0)
    sums = torch.bincount(index, values, num_sources)
    return sums, torch.bincount(index[kept], minlength=num_sources)
