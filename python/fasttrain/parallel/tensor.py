"""Tensor parallelism applied from outside: the model's modules keep their code, their matrices become slices.

Megatron-LM's pair (arXiv:1909.08053): f copies forward and sums the gradient backward, g sums forward and copies
backward.
A pair of layers is cut so that only f in front and g behind communicate:

    x (B,T,C) -f-> wq, wk, wv by rows of the weight (heads) -> attention on own heads -> wo by columns -g-> (B,T,C)
    x (B,T,C) -f-> w_gate, w_up by rows of the weight       -> swiglu                 -> w_down by columns -g-> (B,T,C)

The vocabulary is cut by rows of the embedding, of any size: slices need not be equal, and no row is padding, so that
nothing but real words enters the loss. Checked against one process over whole runs in tests/mpi.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from fasttrain.nn.embedding import embedding
from fasttrain.nn.linear import Recipe, linear
from fasttrain.parallel.wire import Wire

IGNORED = -100  # a target that is no target (torch's convention)


class _CopyToGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, wire: Wire) -> torch.Tensor:
        ctx.wire = wire
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.wire.all_reduce_(dy[0].contiguous().clone()), None


class _SumOverGroup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, wire: Wire) -> torch.Tensor:
        return wire.all_reduce_(x.detach().contiguous().clone())

    @staticmethod
    def backward(ctx: Any, *dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        return dy[0], None


def copy_to_group(x: torch.Tensor, wire: Wire) -> torch.Tensor:
    """f: `x` itself; its gradient is the sum of the ranks' gradients."""
    y: torch.Tensor = _call(_CopyToGroup, x, wire)
    return y


def sum_over_group(x: torch.Tensor, wire: Wire) -> torch.Tensor:
    """g: the sum of the ranks' `x`; the gradient of each is the gradient of the sum."""
    y: torch.Tensor = _call(_SumOverGroup, x, wire)
    return y


def _call(function: Any, *args: Any) -> Any:
    return function.apply(*args)  # torch does not type autograd.Function.apply


class VocabParallelEmbedding(nn.Module):
    """Rows `first`..`first + len(weight)` of an embedding; tokens of other ranks' rows come from those ranks."""

    def __init__(self, weight: nn.Parameter, first: int, wire: Wire) -> None:
        super().__init__()
        self.weight, self.first, self.wire = weight, first, wire

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens (B,T) int64 -> (B,T,C), the same on every rank."""
        local = tokens - self.first
        absent = (local < 0) | (local >= len(self.weight))
        x = embedding(local.masked_fill(absent, 0), self.weight)
        return sum_over_group(x.masked_fill(absent[..., None], 0.0), self.wire)


class RowParallelLinear(nn.Module):
    """Columns of a weight (rows of its transpose), summed over the ranks; the bias is added once, after the sum."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, wire: Wire) -> None:
        super().__init__()
        self.weight, self.bias, self.wire = weight, bias, wire

    def forward(self, x: torch.Tensor, recipe: Recipe | None = None) -> torch.Tensor:
        """x (B,T,Clocal), made by `recipe` -> (B,T,C), the same on every rank."""
        y = sum_over_group(linear(x, [self.weight], [None], recipe)[0], self.wire)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _VocabParallelLoss(torch.autograd.Function):
    """Cross-entropy over logits of which each rank holds some columns.

    m = max over ranks of max logits; s = sum over ranks of sum exp(logits - m); lse = m + log s
    nll = lse - logit[target], z2 = lse^2; d logits = softmax * (dnll + 2 lse dz2) - onehot * dnll
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, first: int, wire: Wire
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # logits (N, Vlocal) any float, targets (N,) int64
        logits = logits.detach().float()
        local = targets - first
        is_mine = (local >= 0) & (local < logits.shape[1])
        local = local.masked_fill(~is_mine, 0)
        top = wire.all_reduce_(logits.amax(1), "max")
        p = (logits - top[:, None]).exp_()
        target = logits.gather(1, local[:, None])[:, 0].masked_fill(~is_mine, 0.0)
        sums = wire.all_reduce_(torch.stack([p.sum(1), target]))
        lse = top + sums[0].log()
        is_target = targets != IGNORED
        ctx.save_for_backward(p.div_(sums[0][:, None]), lse, local, is_mine, is_target)
        return (lse - sums[1]) * is_target, lse.square() * is_target

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        p, lse, local, is_mine, is_target = ctx.saved_tensors
        dnll, dz2 = grads[0] * is_target, grads[1] * is_target
        dlogits = p * (dnll + 2.0 * lse * dz2)[:, None]
        dlogits.scatter_add_(1, local[:, None], -(dnll * is_mine)[:, None])
        return dlogits, None, None, None


def vocab_parallel_loss(
    x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, first: int, wire: Wire
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each token from this rank's rows of the output matrix.

    Shapes: B rows, T tokens, C channels.
    Args:
        x: (B, T, C), the same on every rank.
        weight: (Vlocal, C), rows `first`.. of the output matrix.
        targets: (B, T) int64, -100 where there is none.
    Returns: (nll, z2), float32 (B, T), the same on every rank and zero where the target is -100: -log p(target) and
        log(sum exp logits)^2.
    """
    B, T, C = x.shape
    logits = F.linear(copy_to_group(x, wire).reshape(B * T, C), weight)
    nll, z2 = _call(_VocabParallelLoss, logits, targets.reshape(B * T), first, wire)
    return nll.view(B, T), z2.view(B, T)
