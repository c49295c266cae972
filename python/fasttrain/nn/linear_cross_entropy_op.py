"""Native linear + cross-entropy as torch operators with fake kernels and a gradient.

Tokens go through in chunks whose logits take LOGITS_BYTES. A chunk's logits become its loss and, in place, the gradient
of nll + z_loss z2, which is multiplied into dx and dweight at once: no logits are kept or made a second time. Backward
only scales, when every token's gradient is the same multiple (a mean, a sum, an exact accumulation); other gradients
are computed anew, exactly. Outside torch.compile it scales in place and gives the tensors away, to hold one dweight and
not two: a second backward through the same loss (`retain_graph`) computes its gradients anew.

Memory beyond x, weight and their gradients, the weight's in fp32: a chunk's logits and a tile of dweight, 35 MiB; where
the weight has another dtype than the products, its copy in that of the products or its gradient's in its own.

The bits do not depend on the number of threads where those of torch's products do not: in bf16 (oneDNN); in fp32 (MKL)
they do.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.nn.arrays import array
from fasttrain.nn.loss import IGNORED

LOGITS_BYTES = 32 << 20  # half as many rows cost the products nothing, but dweight's sums are read and written twice
TILE_BYTES = 4 << 20  # of a chunk's bf16 dweight: added to the sums before it leaves the cache


@torch.library.custom_op("fasttrain::linear_cross_entropy", mutates_args=(), device_types="cpu")
def linear_cross_entropy_op(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    grad_x: bool,
    grad_weight: bool,
    in_place: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (nll (N,), z2 (N,), dx, dweight): losses, and gradients of sum(nll + z_loss z2), empty where not wanted.

    x (N,C) fp32 or bf16 names the dtype of the products; weight (V,C) fp32 or bf16; targets (N,) int64. `in_place`:
    backward may change dx and dweight, for a caller who does not look at them and is not traced.
    """
    nll, z2, dx, dweight = outputs = _outputs(x, weight, grad_x, grad_weight)
    _check_targets(targets, len(weight))
    _run(x, weight, targets, None, (nll, z2), dx if grad_x else None, dweight if grad_weight else None, z_loss, impl)
    return outputs


@linear_cross_entropy_op.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    grad_x: bool,
    grad_weight: bool,
    in_place: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(x, weight, grad_x, grad_weight)


@torch.library.custom_op("fasttrain::linear_cross_entropy_backward", mutates_args=(), device_types="cpu")
def linear_cross_entropy_backward_op(
    dx: Tensor,
    dweight: Tensor,
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Return gradients of sum(dnll nll + dz2 z2), given those of sum(nll + z_loss z2)."""
    gradients = dx.clone(), dweight.clone()
    _change(*gradients, dnll, dz2, x, weight, targets, z_loss, impl)
    return gradients


@linear_cross_entropy_backward_op.register_fake
def _(
    dx: Tensor,
    dweight: Tensor,
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    return dx.new_empty(dx.shape), dweight.new_empty(dweight.shape)


def _change(
    dx: Tensor,
    dweight: Tensor,
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    impl: str,
) -> None:
    """Turn gradients of sum(nll + z_loss z2) into those of sum(dnll nll + dz2 z2)."""
    dnll, dz2, kept = dnll.contiguous(), dz2.contiguous(), targets != IGNORED
    if not bool(kept.any()):
        return  # they are 0
    scale = dnll[kept][0].item()
    if _is_multiple(dnll[kept], dz2[kept], scale, z_loss):
        dx.mul_(scale)
        dweight.mul_(scale)
        return
    losses = torch.empty_like(dnll), torch.empty_like(dnll)
    wanted_x, wanted_weight = (t if t.numel() else None for t in (dx, dweight))
    _run(x, weight, targets, (dnll, dz2), losses, wanted_x, wanted_weight, z_loss, impl)


def _is_multiple(dnll: Tensor, dz2: Tensor, scale: float, z_loss: float) -> bool:
    # Whoever multiplies scale and z_loss in another order gets another last bit.
    near = (dz2 - scale * z_loss).abs() <= 2 * torch.finfo(dz2.dtype).eps * abs(scale * z_loss)
    return bool((dnll == scale).all()) and bool(near.all())


def _check_targets(targets: Tensor, num_words: int) -> None:
    wrong = targets[((targets < 0) & (targets != IGNORED)) | (targets >= num_words)]
    if len(wrong):
        raise ValueError(
            f"linear_cross_entropy: targets must be {IGNORED} or lie in [0, {num_words}), got {int(wrong[0])}"
        )


def _run(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    factors: tuple[Tensor, Tensor] | None,
    losses: tuple[Tensor, Tensor],
    dx: Tensor | None,
    dweight: Tensor | None,
    z_loss: float,
    impl: str,
) -> None:
    matrix = weight.to(x.dtype)
    gradient = dx is not None or dweight is not None
    buffer = pages.empty((_chunk_rows(x, weight), len(weight)), x.dtype, x.device)
    for rows in _slices(len(x), len(buffer)):
        chunk, logits = x[rows], buffer[: rows.stop - rows.start]
        torch.mm(chunk, matrix.t(), out=logits)
        dnll, dz2 = (None, None) if factors is None else (array(f[rows]) for f in factors)
        backend.native("linear_cross_entropy")(
            array(logits),
            array(targets[rows]),
            dnll,
            dz2,
            *(array(loss[rows]) for loss in losses),
            z_loss,
            gradient,
            torch.get_num_threads(),
            impl,
        )
        if dx is not None:
            torch.mm(logits, matrix, out=dx[rows])
        if dweight is not None:
            _add_product(dweight, logits, chunk, rows.start == 0, impl)
    if dweight is not None and len(x) == 0:
        dweight.zero_()


def _add_product(sums: Tensor, dlogits: Tensor, chunk: Tensor, is_first: bool, impl: str) -> None:
    """sums (V,C) fp32 = or += dlogits^T chunk, whose products in bf16 are rounded once a chunk."""
    if chunk.dtype == torch.float32:
        torch.addmm(sums, dlogits.t(), chunk, beta=0 if is_first else 1, out=sums)
        return
    height = max(1, TILE_BYTES // max(1, 2 * chunk.shape[1]))
    tile = chunk.new_empty((min(height, len(sums)), chunk.shape[1]))
    for words in _slices(len(sums), height):
        part = tile[: words.stop - words.start]
        torch.mm(dlogits[:, words].t(), chunk, out=part)
        if is_first:
            sums[words].copy_(part)
        else:
            backend.native("accumulate")(array(part), array(sums[words]), torch.get_num_threads(), impl)


def _chunk_rows(x: Tensor, weight: Tensor) -> int:
    rows = LOGITS_BYTES // (len(weight) * x.element_size())
    return max(1, min(len(x), rows if rows < 32 else rows // 32 * 32))


def _slices(total: int, step: int) -> Iterator[slice]:
    return (slice(begin, min(begin + step, total)) for begin in range(0, total, step))


def _outputs(x: Tensor, weight: Tensor, grad_x: bool, grad_weight: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    nll, z2 = (x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(2))
    dx = pages.new_empty(x, x.shape if grad_x else (0, 0))
    return nll, z2, dx, pages.new_empty(weight, weight.shape if grad_weight else (0, 0), torch.float32)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, weight, targets, ctx.z_loss, ctx.grad_x, ctx.grad_weight, ctx.in_place, ctx.impl = inputs
    ctx.gradients = output[2:] if ctx.in_place else ()
    ctx.save_for_backward(x, weight, targets, *(() if ctx.in_place else output[2:]))
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)  # zeros for dx and dweight, which lead nowhere, would be as large as they are


@torch.no_grad()
def _made_again(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of sum(nll + z_loss z2), for another backward than the first."""
    nll, z2, dx, dweight = _outputs(x, weight, ctx.grad_x, ctx.grad_weight)
    wanted = dx if ctx.grad_x else None, dweight if ctx.grad_weight else None
    _run(x, weight, targets, None, (nll, z2), *wanted, ctx.z_loss, ctx.impl)
    return dx, dweight


def _backward(ctx: Any, dnll: Tensor | None, dz2: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, targets, *saved = ctx.saved_tensors
    dnll, dz2 = (targets.new_zeros(targets.shape, dtype=torch.float32) if d is None else d for d in (dnll, dz2))
    arguments = (dnll, dz2, x, weight, targets, ctx.z_loss, ctx.impl)
    dx, dweight = saved or ctx.gradients or _made_again(ctx, x, weight, targets)
    if ctx.in_place and not torch.is_grad_enabled():
        ctx.gradients = ()  # they are the caller's now
        _change(dx, dweight, *arguments)
    else:  # a gradient of the gradient is something that only an operator can refuse
        dx, dweight = linear_cross_entropy_backward_op(dx, dweight, *arguments)
    gradients = dx if ctx.grad_x else None, dweight.to(weight.dtype) if ctx.grad_weight else None
    return *gradients, None, None, None, None, None, None


linear_cross_entropy_op.register_autograd(_backward, setup_context=_setup)
