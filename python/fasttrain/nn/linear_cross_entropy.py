"""The last layer and its loss, without a (tokens x vocabulary) buffer: the faces."""

import os
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.nn import linear_cross_entropy_cuda, linear_cross_entropy_ref
from fasttrain.nn.linear_cross_entropy_op import linear_cross_entropy_op
from fasttrain.nn.loss import IGNORED, sums_by_source, token_loss

_IMPLS = backend.implementations("linear_cross_entropy")  # here: torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


@overload
def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    sources: None = None,
    num_sources: int = 0,
    impl: str | None = None,
) -> Tensor: ...
@overload
def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    sources: Tensor,
    num_sources: int,
    impl: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]: ...
def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    z_loss: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    sources: Tensor | None = None,
    num_sources: int = 0,
    impl: str | None = None,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Return the loss -log softmax(x weight^T)[target] + z_loss log(sum exp(x weight^T))^2, in fp32; differentiable.

    Shapes: x (..., C), weight (V, C), targets (...) int64 -> scalar, or (...) with reduction="none".
    Args:
        targets: -100 where a token counts for nothing.
        reduction: "mean" over the tokens that count (0 when there is none), "sum", "none".
        sources: (...) int64 in [0, num_sources), where each token comes from: then (loss, sums, tokens) is returned,
            the sum of -log softmax over each source's tokens that count (S,) fp64, and their number (S,) int64.
        impl: see `linear_token_loss`.
    Raises: see `linear_token_loss` and `sums_by_source`.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"linear_cross_entropy: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    nll, z2 = linear_token_loss(x, weight, targets, z_loss=z_loss, impl=impl)
    if reduction == "none":
        loss = nll + z_loss * z2 if z_loss else nll
    else:
        loss = nll.sum() + z_loss * z2.sum() if z_loss else nll.sum()
        loss = loss / (targets != IGNORED).sum().clamp(min=1) if reduction == "mean" else loss
    return loss if sources is None else (loss, *sums_by_source(nll, targets, sources, num_sources))


def linear_token_loss(
    x: Tensor, weight: Tensor, targets: Tensor, *, z_loss: float = 0.0, even: bool = False, impl: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return (nll, z2) of each token: -log softmax(logits)[target], logsumexp(logits)^2, logits = x weight^T.

    Gradients are made while the logits are there, for a loss that is a multiple of sum(nll + z_loss z2): then backward
    costs nothing more. Of another loss they are as exact and cost the logits again, as does a second backward
    (`retain_graph`). Products run in x's dtype, or autocast's; dweight is added up in fp32.
    Shapes: x (..., C), weight (V, C), targets (...) int64 -> (...) fp32 twice, 0 where the target is -100.
    Args:
        z_loss: the weight that z2 will have in the loss.
        even: whether the caller promises targets that are words, and a loss that is such a multiple, of every token's:
            then "cuda" never waits for the card. A broken promise gives NaN there; others ask all the same.
        impl: "reference" (by definition), "torch" (F.linear and `token_loss`), a native name (CPU, fp32 and bf16) or
            "cuda" (the same on a card); when None, what FASTTRAIN_IMPL names, else the fastest that runs here.
    Raises: ValueError: a wrong shape, device or impl, a target that is no word. TypeError: targets of another dtype.
    """
    _check(x, weight, targets)
    dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    impl = _choose(x, weight, dtype, impl)
    if impl == "torch":
        return token_loss(F.linear(x, weight), targets)
    C = x.shape[-1]
    rows = x.to(dtype).reshape(targets.numel(), C).contiguous()
    index = targets.reshape(-1).contiguous()
    if impl == "reference":
        nll, z2 = linear_cross_entropy_ref.linear_cross_entropy(rows, weight, index)
    else:
        operands = rows, weight.contiguous(), index, z_loss
        grads = [torch.is_grad_enabled() and t.requires_grad for t in (x, weight)]
        if impl == "cuda":
            nll, z2, *_ = linear_cross_entropy_cuda.linear_cross_entropy_op(*operands, *grads, even)
        else:
            in_place = not torch.compiler.is_compiling()
            nll, z2, *_ = linear_cross_entropy_op(*operands, *grads, in_place, impl)
    return nll.view(targets.shape), z2.view(targets.shape)


def _check(x: Tensor, weight: Tensor, targets: Tensor) -> None:
    op = "linear_cross_entropy"
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1] or len(weight) == 0:
        raise ValueError(
            f"{op}: x must have shape (..., C) and weight (V, C), got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if targets.shape != x.shape[:-1]:
        raise ValueError(f"{op}: targets must have shape {tuple(x.shape[:-1])}, got {tuple(targets.shape)}")
    if not x.device == weight.device == targets.device:
        raise ValueError(
            f"{op}: x, weight and targets must be on one device, got {x.device}, {weight.device} and {targets.device}"
        )
    if targets.dtype != torch.int64:
        raise TypeError(f"{op}: targets must have dtype int64, got {targets.dtype}")


def _choose(x: Tensor, weight: Tensor, dtype: torch.dtype, impl: str | None) -> str:
    op = "linear_cross_entropy"
    # Without autocast torch's own linear wants one dtype too; an fp32 weight under bf16 products is what autocast does.
    takes = dtype in _NATIVE_DTYPES and weight.dtype in _NATIVE_DTYPES
    is_native = x.device.type == "cpu" and takes
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl in (None, "cuda") and takes and cuda.is_built(x):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"{op}: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"{op}: impl {impl!r} takes fp32 or bf16 on the CPU, got {dtype} on {x.device.type}; use impl='torch'"
        )
    return impl
