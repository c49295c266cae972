"""Native linear + cross-entropy as torch operators with fake kernels and a gradient.

Tokens go through in chunks of LOGITS_BYTES: of exponentials in bf16 on a CPU that multiplies it, where logits are in no
memory (linear_cross_entropy_fused.py); else of logits, which become loss and, in place, the gradient of nll + z_loss z2
(linear_cross_entropy_products.py). Both make dx and dweight at once: nothing is kept or made a second time. Backward
only scales, when every token's gradient is the same multiple (a mean, a sum, an exact accumulation); other gradients
are computed anew, exactly. Outside torch.compile it scales in place and gives the tensors away, to hold one dweight and
not two: a second backward through the same loss (`retain_graph`) computes its gradients anew.

Memory beyond x, weight and their gradients, each in its own dtype: a chunk; the lower halves of the sums where dweight
is bf16, for which chunks are shorter (EXTRA_BYTES); a tile of words or, fused, x of a chunk, its dx in fp32 and a block
of words.

The bits do not depend on the number of threads where those of torch's products do not: in bf16 (oneDNN, and fused);
in fp32 (MKL) they do.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn.arrays import array
from fasttrain.nn.linear_cross_entropy_fused import GROUP, is_fused, run_fused
from fasttrain.nn.linear_cross_entropy_products import Products, finish, new_sums, slices
from fasttrain.nn.loss import IGNORED

LOGITS_BYTES = 32 << 20  # of a chunk; with more, products are no faster
FEWEST_BYTES = 12 << 20  # with fewer, the weight is read and packed for too few tokens
EXTRA_BYTES = 63 << 20  # of a chunk and lower halves, where that leaves the chunk FEWEST_BYTES

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@operator("fasttrain::linear_cross_entropy")
def linear_cross_entropy_op(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    grad_x: bool,
    grad_weight: bool,
    in_place: bool,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (nll (N,), z2 (N,), dx, dweight, lower): losses, and gradients of sum(nll + z_loss z2).

    Gradients are empty where not wanted; dweight and lower are sums as `new_sums` has them, in bf16 not yet a gradient.
    x (N,C) fp32 or bf16 names the dtype of the products; weight (V,C) fp32 or bf16; targets (N,) int64. `in_place`:
    backward may change dx and dweight, for a caller who does not look at them and is not traced.
    """
    outputs = _outputs(x, weight, grad_x, grad_weight)
    check_targets(targets, len(weight))
    _run(x, weight, targets, None, outputs, z_loss, impl)
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _outputs(x, weight, grad_x, grad_weight)


@operator("fasttrain::linear_cross_entropy_backward")
def linear_cross_entropy_backward_op(
    dx: Tensor,
    dweight: Tensor,
    lower: Tensor,
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_loss: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """Return gradients of sum(dnll nll + dz2 z2), given those of sum(nll + z_loss z2)."""
    dx, dweight = dx.clone(), dweight.clone()
    _change(dx, dweight, lower.clone(), dnll, dz2, x, weight, targets, z_loss, impl)
    return dx, dweight


@linear_cross_entropy_backward_op.register_fake
def _(
    dx: Tensor,
    dweight: Tensor,
    lower: Tensor,
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
    lower: Tensor,
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
    scale = float(dnll[kept][0]) if bool(kept.any()) else 1.0  # of gradients that are 0
    if not _is_multiple(dnll[kept], dz2[kept], scale, z_loss):
        scale, losses = 1.0, (torch.empty_like(dnll), torch.empty_like(dnll))
        outputs = (*losses, dx, dweight, lower)
        _run(x, weight, targets, (dnll, dz2), outputs, z_loss, impl)
    if scale != 1.0:
        dx.mul_(scale)
    finish(dweight, lower, scale, impl)


def _is_multiple(dnll: Tensor, dz2: Tensor, scale: float, z_loss: float) -> bool:
    # Whoever multiplies scale and z_loss in another order gets another last bit.
    near = (dz2 - scale * z_loss).abs() <= 2 * torch.finfo(dz2.dtype).eps * abs(scale * z_loss)
    return bool((dnll == scale).all()) and bool(near.all())


def check_targets(targets: Tensor, num_words: int) -> None:
    """Raise ValueError unless each is a word or IGNORED."""
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
    outputs: Outputs,
    z_loss: float,
    impl: str,
) -> None:
    *_, dweight, lower = outputs
    if len(x) == 0:
        dweight.zero_()
        lower.zero_()
    elif is_fused(x.dtype, impl):
        run_fused(x, weight, targets, factors, outputs, z_loss, max(GROUP, _chunk_rows(x, weight, lower, GROUP)), impl)
    else:
        _run_products(x, weight, targets, factors, outputs, z_loss, impl)


def _run_products(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    factors: tuple[Tensor, Tensor] | None,
    outputs: Outputs,
    z_loss: float,
    impl: str,
) -> None:
    nll, z2, dx, dweight, lower = outputs
    grad_x, grad_weight = len(dx) > 0, len(dweight) > 0
    halves = lower if dweight.dtype == torch.bfloat16 else None
    buffer = pages.empty((_chunk_rows(x, weight, lower, 32), len(weight)), x.dtype)
    products = Products(x, weight, impl)
    for rows in slices(len(x), len(buffer)):
        chunk, logits = x[rows], buffer[: rows.stop - rows.start]
        products.logits(chunk, logits)
        dnll, dz2 = (None, None) if factors is None else (array(f[rows]) for f in factors)
        backend.native("linear_cross_entropy")(
            array(logits),
            array(targets[rows]),
            dnll,
            dz2,
            *(array(loss[rows]) for loss in (nll, z2)),
            z_loss,
            grad_x or grad_weight,
            torch.get_num_threads(),
            impl,
        )
        if grad_x:
            products.dx(logits, dx[rows])
        if grad_weight:
            products.add_dweight(logits, chunk, dweight, halves, keep=rows.start > 0)


def _chunk_rows(x: Tensor, weight: Tensor, lower: Tensor, step: int) -> int:
    room = max(FEWEST_BYTES, EXTRA_BYTES - lower.nbytes)
    rows = min(LOGITS_BYTES, room) // (len(weight) * x.element_size())
    return max(1, min(len(x), rows if rows < step else rows // step * step))


def _outputs(x: Tensor, weight: Tensor, grad_x: bool, grad_weight: bool) -> Outputs:
    nll, z2 = (x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(2))
    dx = pages.new_empty(x, x.shape if grad_x else (0, 0))
    return nll, z2, dx, *new_sums(weight if grad_weight else weight[:0, :0])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    x, weight, targets, ctx.z_loss, ctx.grad_x, ctx.grad_weight, ctx.in_place, ctx.impl = inputs
    ctx.gradients = output[2:] if ctx.in_place else ()
    ctx.save_for_backward(x, weight, targets, *(() if ctx.in_place else output[2:]))
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)  # zeros for dx and dweight, which lead nowhere, would be as large as they are


@torch.no_grad()
def _made_again(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of sum(nll + z_loss z2), for another backward than the first."""
    outputs = _outputs(x, weight, ctx.grad_x, ctx.grad_weight)
    _run(x, weight, targets, None, outputs, ctx.z_loss, ctx.impl)
    return outputs[2:]


def _backward(ctx: Any, dnll: Tensor | None, dz2: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, targets, *saved = ctx.saved_tensors
    dnll, dz2 = (targets.new_zeros(targets.shape, dtype=torch.float32) if d is None else d for d in (dnll, dz2))
    arguments = (dnll, dz2, x, weight, targets, ctx.z_loss, ctx.impl)
    dx, dweight, lower = saved or ctx.gradients or _made_again(ctx, x, weight, targets)
    if ctx.in_place and not torch.is_grad_enabled():
        ctx.gradients = ()  # they are the caller's now
        _change(dx, dweight, lower, *arguments)
    else:  # a gradient of the gradient is something that only an operator can refuse
        dx, dweight = linear_cross_entropy_backward_op(dx, dweight, lower, *arguments)
    return dx if ctx.grad_x else None, dweight if ctx.grad_weight else None, None, None, None, None, None, None


linear_cross_entropy_op.register_autograd(_backward, setup_context=_setup)
linear_cross_entropy_backward_op.refuse_autograd()
