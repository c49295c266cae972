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

from fasttrain.core import pages
from fasttrain.nn.elementwise import cast
from fasttrain.nn.embedding import embedding
from fasttrain.nn.linear import Recipe, linear, product_dtype
from fasttrain.nn.linear_cross_entropy_op import LOGITS_BYTES
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
    """Cross-entropy over logits of which each rank makes some columns, for a chunk of tokens at a time.

    m = max over ranks of max logits; s = sum over ranks of sum exp(logits - m); lse = m + log s
    nll = lse - logit[target], z2 = lse^2; d logits = softmax * (dnll + 2 lse dz2) - onehot * dnll

    Only lse is kept: backward makes the logits of a chunk again, with the same bits and without communication, so that
    there is no (tokens x vocabulary) buffer in either pass; it costs a fourth product beside the three.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, first: int, wire: Wire, num_rows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # x (N, C), weight (Vlocal, C), targets (N,) int64; num_rows: tokens of a chunk, the same on every rank
        dtype = product_dtype(x)
        rows, matrix = cast(x, dtype), weight.to(dtype)
        nll, lse = (x.new_empty(len(x), dtype=torch.float32) for _ in range(2))
        ctx.chunks = [slice(begin, begin + num_rows) for begin in range(0, len(x), num_rows)]
        make = _Logits(matrix, num_rows, len(x))
        for chunk in ctx.chunks:
            logits = make(rows[chunk])
            local, is_mine = _local(targets[chunk], first, len(weight))
            top = wire.all_reduce_(logits.amax(1), "max")
            target = logits.gather(1, local[:, None])[:, 0].masked_fill(~is_mine, 0.0)
            sums = wire.all_reduce_(torch.stack([logits.sub_(top[:, None]).exp_().sum(1), target]))
            lse[chunk] = top + sums[0].log()
            nll[chunk] = lse[chunk] - sums[1]
        ctx.save_for_backward(rows, weight, targets, lse)
        ctx.first, ctx.num_rows, ctx.dtypes = first, num_rows, (x.dtype, weight.dtype)
        is_target = targets != IGNORED
        return nll * is_target, lse.square() * is_target

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, targets, lse = ctx.saved_tensors
        is_target = targets != IGNORED
        dnll, dz2 = grads[0] * is_target, grads[1] * is_target
        matrix, dx = weight.to(rows.dtype), torch.empty_like(rows)
        dweight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        make = _Logits(matrix, ctx.num_rows, len(rows))
        for chunk in ctx.chunks:
            p = make(rows[chunk]).sub_(lse[chunk][:, None]).exp_()
            local, is_mine = _local(targets[chunk], ctx.first, len(weight))
            p.mul_((dnll[chunk] + 2.0 * lse[chunk] * dz2[chunk])[:, None])
            p.scatter_add_(1, local[:, None], -(dnll[chunk] * is_mine)[:, None])
            dlogits = make.narrowed(p)
            torch.mm(dlogits, matrix, out=dx[chunk])
            dweight += torch.mm(dlogits.t(), rows[chunk])
        return dx.to(ctx.dtypes[0]), dweight.to(ctx.dtypes[1]), None, None, None, None


class _Logits:
    """Logits of a chunk of tokens at a time, in fp32, in memory that the next chunk takes over."""

    def __init__(self, matrix: torch.Tensor, num_rows: int, num_tokens: int) -> None:
        self._matrix, shape = matrix, (min(num_rows, num_tokens), len(matrix))
        self._product = pages.new_empty(matrix, shape)
        is_wide = matrix.dtype == torch.float32
        self._wide = self._product if is_wide else pages.new_empty(matrix, shape, torch.float32)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        product = torch.mm(rows, self._matrix.t(), out=self._product[: len(rows)])
        return product if self._wide is self._product else self._wide[: len(rows)].copy_(product)

    def narrowed(self, x: torch.Tensor) -> torch.Tensor:
        """x, which came of the last call, in the dtype of the products."""
        return x if self._wide is self._product else self._product[: len(x)].copy_(x)


def _local(targets: torch.Tensor, first: int, num_words: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(index among this rank's words, 0 for others'; whether it is one of this rank's)."""
    local = targets - first
    is_mine = (local >= 0) & (local < num_words)
    return local.masked_fill(~is_mine, 0), is_mine


def vocab_parallel_loss(
    x: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    first: int,
    wire: Wire,
    *,
    logits_bytes: int = LOGITS_BYTES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each token from this rank's rows of the output matrix.

    Shapes: B rows, T tokens, C channels.
    Args:
        x: (B, T, C), the same on every rank.
        weight: (Vlocal, C), rows `first`.. of the output matrix.
        targets: (B, T) int64, -100 where there is none.
        logits_bytes: of fp32 logits at one time, in either pass.
    Returns: (nll, z2), float32 (B, T), the same on every rank and zero where the target is -100: -log p(target) and
        log(sum exp logits)^2.
    """
    B, T, C = x.shape
    most = int(wire.all_reduce_(torch.tensor([len(weight)]), "max"))  # slices of the vocabulary need not be equal
    num_rows = max(1, logits_bytes // (4 * most))
    rows = copy_to_group(x, wire).reshape(B * T, C)
    nll, z2 = _call(_VocabParallelLoss, rows, weight, targets.reshape(B * T), first, wire, num_rows)
    return nll.view(B, T), z2.view(B, T)
