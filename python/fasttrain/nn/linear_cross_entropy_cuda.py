"""Linear + cross-entropy on a card as torch operators with fake kernels and a gradient.

Tokens go through in chunks whose logits take at most LOGITS_BYTES. A chunk's logits become its loss and, in place, the
gradient of nll + z_loss z2 (csrc/nn/linear_cross_entropy.cu), which is multiplied into dx and dweight at once: no
logits are kept or made a second time. Backward only scales, when every token's gradient is the same multiple (a mean, a
sum, an exact accumulation); other gradients are computed anew, exactly.

Both ask something of the card and wait for it: whether every target is a word, and whether gradients are such
multiples. Whoever knows (`even`) is spared that, and what is not so gives NaN.

Products are torch's (cuBLAS), in x's dtype; dweight is added up in fp32. Memory beyond x, weight and their gradients: a
chunk's logits, the weight in the products' dtype while they run, and dweight in fp32 where its own dtype is bf16.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator
from fasttrain.nn.linear_cross_entropy_op import check_targets
from fasttrain.nn.linear_cross_entropy_products import slices
from fasttrain.nn.loss import IGNORED

LOGITS_BYTES = 1 << 30  # 8,192 tokens of 50,304 words in bf16: dx, of few columns, has tiles for every SM
_PITCH = 64  # rows begin on a multiple of so many values, 128 bytes in bf16: any vocabulary is read in 16-byte accesses

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


@operator("fasttrain::linear_cross_entropy_cuda", "cuda")
def linear_cross_entropy_op(
    x: Tensor, weight: Tensor, targets: Tensor, z_loss: float, grad_x: bool, grad_weight: bool, even: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (nll (N,), z2 (N,), dx, dweight): losses, and gradients of sum(nll + z_loss z2), dweight in fp32.

    Gradients are empty where not wanted. x (N,C), fp32 or bf16, names the dtype of the products; weight (V,C), fp32 or
    bf16; targets (N,) int64; all contiguous.
    """
    outputs = _outputs(x, weight, grad_x, grad_weight)
    if not even:
        check_targets(targets, len(weight))
    _run(x, weight, targets, None, outputs, z_loss)
    return outputs


@linear_cross_entropy_op.register_fake
def _(
    x: Tensor, weight: Tensor, targets: Tensor, z_loss: float, grad_x: bool, grad_weight: bool, even: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(x, weight, grad_x, grad_weight)


@operator("fasttrain::linear_cross_entropy_backward_cuda", "cuda")
def linear_cross_entropy_backward_op(
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    dx: Tensor,
    sums: Tensor,
    z_loss: float,
    even: bool,
) -> tuple[Tensor, Tensor]:
    """Return gradients of sum(dnll nll + dz2 z2), given those of sum(nll + z_loss z2)."""
    if even:
        factor = _promised_factor(dnll, dz2, z_loss)
        return torch.mul(dx, factor, out=torch.empty_like(dx)), torch.mul(
            sums, factor, out=weight.new_empty(sums.shape)
        )
    scale = _common_factor(dnll, dz2, targets, z_loss)
    if scale is None:
        outputs = torch.empty_like(dnll), torch.empty_like(dz2), torch.empty_like(dx), torch.empty_like(sums)
        _run(x, weight, targets, (dnll.contiguous(), dz2.contiguous()), outputs, z_loss)
        _, _, dx, sums = outputs
        scale = 1.0
    return dx * scale, torch.mul(sums, scale, out=weight.new_empty(sums.shape))


@linear_cross_entropy_backward_op.register_fake
def _(
    dnll: Tensor,
    dz2: Tensor,
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    dx: Tensor,
    sums: Tensor,
    z_loss: float,
    even: bool,
) -> tuple[Tensor, Tensor]:
    return dx.new_empty(dx.shape), weight.new_empty(sums.shape)


def _outputs(x: Tensor, weight: Tensor, grad_x: bool, grad_weight: bool) -> Outputs:
    nll, z2 = (x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(2))
    sums = weight.new_empty(weight.shape if grad_weight else (0, 0), dtype=torch.float32)
    return nll, z2, x.new_empty(x.shape if grad_x else (0, 0)), sums


def _common_factor(dnll: Tensor, dz2: Tensor, targets: Tensor, z_loss: float) -> float | None:
    """The s with dnll = s and dz2 = s z_loss for every token that counts; None: there is none. Waits for the card."""
    if not targets.numel():
        return 1.0
    ignored = targets == IGNORED
    most, least = dnll.masked_fill(ignored, -math.inf).amax(), dnll.masked_fill(ignored, math.inf).amin()
    off = (dz2.double() - most.double() * z_loss).abs().masked_fill(ignored, 0.0).amax()
    high, low, difference = torch.stack([most.double(), least.double(), off]).tolist()
    if high == -math.inf and low == math.inf:
        return 1.0  # no token counts: gradients of 0
    # Whoever multiplies the factor and z_loss in another order gets another last bit.
    near = difference <= 2 * torch.finfo(torch.float32).eps * abs(high * z_loss)
    return high if high == low and near else None


def _promised_factor(dnll: Tensor, dz2: Tensor, z_loss: float) -> Tensor:
    """(1,) fp32: `_common_factor` where it is the same for all tokens, those that count for nothing too; else NaN."""
    if not dnll.numel():
        return dnll.new_ones(1)
    first = dnll[:1]
    off = (dz2 - first * z_loss).abs() > 2 * torch.finfo(torch.float32).eps * (first * z_loss).abs()
    return first.masked_fill(((dnll != first) | off).any(), math.nan)


def _run(
    x: Tensor, weight: Tensor, targets: Tensor, factors: tuple[Tensor, Tensor] | None, outputs: Outputs, z_loss: float
) -> None:
    nll, z2, dx, sums = outputs
    matrix, V = weight.to(x.dtype), len(weight)
    buffer = x.new_empty((_chunk_rows(x, V), pitch(V)))
    is_bf16, wants_gradient = x.dtype == torch.bfloat16, bool(dx.numel() or sums.numel())
    native = backend.native("linear_cross_entropy_cuda")
    for rows in slices(len(x), len(buffer)):
        chunk = x[rows]
        logits = buffer[: len(chunk), :V]
        torch.mm(chunk, matrix.t(), out=logits)
        dnll, dz2 = (None, None) if factors is None else (f[rows] for f in factors)
        addresses = cuda.pointers([logits, targets[rows], dnll, dz2, nll[rows], z2[rows]])
        sizes = [len(chunk), V, buffer.shape[1]]
        cuda.launch(
            "linear_cross_entropy",
            x.device,
            lambda stream, a=addresses, n=sizes: native(a, n, z_loss, is_bf16, wants_gradient, stream),  # type: ignore[misc]
        )
        if dx.numel():
            torch.mm(logits, matrix, out=dx[rows])
        if sums.numel():
            _add_product(sums, logits.t(), chunk, keep=rows.start > 0)
    if not len(x):
        sums.zero_()


def pitch(V: int) -> int:
    """Values from one row of logits to the next."""
    return -(-V // _PITCH) * _PITCH


def _chunk_rows(x: Tensor, V: int) -> int:
    """Tokens of a chunk: even chunks, of whole tiles of the products where they are that long."""
    tile, most = 128, max(1, LOGITS_BYTES // (pitch(V) * x.element_size()))
    most = most // tile * tile or most
    even = -(-len(x) // max(1, -(-len(x) // most)))
    return max(1, min(len(x), even if most < tile else -(-even // tile) * tile))


def _add_product(sums: Tensor, a: Tensor, b: Tensor, *, keep: bool) -> None:
    """sums (V,C) fp32 = or (keep) += a b, added up in fp32 where torch's products can leave their sums so."""
    if a.dtype == torch.float32:
        torch.addmm(sums, a, b, beta=int(keep), out=sums)
    elif _adds_in_fp32(sums.device.index):
        torch.ops.aten.addmm.dtype_out(sums, a, b, torch.float32, beta=int(keep), out=sums)
    else:
        part = cuda.mm_fp32(a, b)
        sums.add_(part) if keep else sums.copy_(part)


@cache
def _adds_in_fp32(device: int) -> bool:
    """Whether torch adds a product of bf16 to fp32: newer ones do, some refuse it, old ones have no such operator."""
    if not hasattr(torch.ops.aten.addmm, "dtype_out"):
        return False
    half = torch.ones((16, 16), dtype=torch.bfloat16, device=f"cuda:{device}")
    sums = torch.ones((16, 16), device=half.device)
    try:
        torch.ops.aten.addmm.dtype_out(sums, half, half, torch.float32, beta=1, out=sums)
    except RuntimeError:
        return False
    return bool((sums == 17).all())


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    x, weight, targets, ctx.z_loss, ctx.grad_x, ctx.grad_weight, ctx.even = inputs
    ctx.save_for_backward(x, weight, targets, *output[2:])
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)  # zeros for dx and dweight, which lead nowhere, would be as large as they are


def _backward(ctx: Any, dnll: Tensor | None, dz2: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, targets, dx, sums = ctx.saved_tensors
    dnll, dz2 = (targets.new_zeros(targets.shape, dtype=torch.float32) if d is None else d for d in (dnll, dz2))
    dx, dweight = linear_cross_entropy_backward_op(dnll, dz2, x, weight, targets, dx, sums, ctx.z_loss, ctx.even)
    return dx if ctx.grad_x else None, dweight if ctx.grad_weight else None, None, None, None, None, None


linear_cross_entropy_op.register_autograd(_backward, setup_context=_setup)
linear_cross_entropy_backward_op.refuse_autograd()
