"""Attention on a card: tensor cores for bf16 and head dims 64 and 128, forward and backward; else a plain forward.

As torch operators with fake kernels and a gradient, so that torch.compile sees through them. Deterministic: the same
inputs give the same bits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.core.operator import operator
from fasttrain.nn.attention_op import like_backward

_BUILT = backend.is_cuda_built()  # here, because torch.compile warns of a cached function inside
_MAX_D = 256  # csrc/nn/attention.h
_TENSOR_D = (64, 128)  # csrc/nn/attention_cuda.h


def is_fast(q: Tensor, scale: float) -> bool:
    """Whether the kernels on tensor cores take these."""
    return q.dtype == torch.bfloat16 and q.shape[3] in _TENSOR_D and scale > 0 and cuda.is_built(q)


def is_faster(q: Tensor, scale: float, *, documents: bool) -> bool:
    """Whether they are also faster than torch's, as measured on an H200 (benchmarks/results).

    With documents torch reads a mask of Tq Tk values. Without, its cuDNN has the faster backward, but under
    deterministic algorithms it takes FlashAttention-2.
    """
    repeatable = torch.are_deterministic_algorithms_enabled()
    return is_fast(q, scale) and (documents or (repeatable and cuda.is_hopper(q)))


def attention(op: str, q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float) -> Tensor:
    """Return (B, Tq, H, D); lo and hi (B or 1, Tq) int32 are the keys that each query sees."""
    if not _BUILT or q.device.type != "cuda" or q.dtype not in (torch.float32, torch.bfloat16):
        built = "with" if _BUILT else "without"
        raise ValueError(
            f"{op}: impl 'cuda' takes fp32 or bf16 on a GPU, got {q.dtype} on {q.device.type} in a build {built} CUDA"
        )
    if is_fast(q, scale):
        out: Tensor = attention_tensor_op(*(x.contiguous() for x in (q, k, v, lo, hi)), scale, cuda.is_hopper(q))[0]
        return out
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        raise ValueError(
            f"{op}: impl 'cuda' has a backward for bf16 and head dims 64 and 128 only, got {q.dtype} and {q.shape[3]}; "
            "use impl='torch', or torch.no_grad()"
        )
    if q.shape[3] > _MAX_D:
        raise ValueError(f"{op}: impl 'cuda' takes head dims up to {_MAX_D}, got {q.shape[3]}; use impl='torch'")
    return _plain(op, q, k, v, lo, hi, scale)


def _plain(op: str, q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float) -> Tensor:
    (B, Tq, H, D), Tk, Hkv = q.shape, k.shape[1], k.shape[2]
    tensors = [x.contiguous() for x in (q, k, v, lo, hi)]
    out, stats = torch.empty_like(tensors[0]), torch.empty((B, H, Tq, 2), device=q.device)
    addresses, sizes = cuda.pointers([*tensors, out, stats]), [B, len(lo), Tq, Tk, H, Hkv, D]
    is_bf16 = q.dtype == torch.bfloat16
    cuda.launch(op, q.device, lambda s: backend.native("attention_cuda")(addresses, sizes, scale, is_bf16, s))
    return out


@operator("fasttrain::attention_tensor", "cuda")
def attention_tensor_op(
    q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, wgmma: bool
) -> tuple[Tensor, Tensor]:
    """Return (out (B,Tq,H,D) bf16, lse (B,H,Tq) fp32). Contiguous bf16: the face makes it so.

    Args:
        wgmma: the kernels for Hopper, else those for any card from Ampere on.
    """
    out, lse = _like_forward(q)
    q, k, v = (cuda.aligned(x) for x in (q, k, v))
    _launch([q, k, v, lo, hi, out, lse, *[None] * 6], scale, backward=False, wgmma=wgmma)
    return out, lse


@attention_tensor_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, wgmma: bool) -> tuple[Tensor, Tensor]:
    return _like_forward(q)


@operator("fasttrain::attention_tensor_backward", "cuda")
def attention_tensor_backward_op(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    out: Tensor,
    lse: Tensor,
    scale: float,
    wgmma: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (dq, dk, dv)."""
    B, Tq, H, _ = q.shape
    dq, dk, dv = like_backward(q, k, v)
    if not B * Tq:  # no block of queries: nothing is launched
        return dq, dk.zero_(), dv.zero_()
    block = backend.constant("attention_range_block")
    blocks = -(-Tq // block)
    rows = lse.new_empty((B, H, blocks * block, 2))
    ranges = lo.new_empty((len(lo), blocks, 4))
    q, k, v, dout = (cuda.aligned(x) for x in (q, k, v, dout))
    tensors = [q, k, v, lo, hi, out, lse, dout, dq, dk, dv, rows, ranges]
    _launch(tensors, scale, backward=True, wgmma=wgmma)
    return dq, dk, dv


@attention_tensor_backward_op.register_fake
def _(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    out: Tensor,
    lse: Tensor,
    scale: float,
    wgmma: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return like_backward(q, k, v)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, lo, hi, ctx.scale, ctx.wgmma = inputs
    ctx.save_for_backward(q, k, v, lo, hi, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, dout: Tensor, _dlse: Tensor) -> tuple[Tensor | None, ...]:
    dq, dk, dv = attention_tensor_backward_op(dout, *ctx.saved_tensors, ctx.scale, ctx.wgmma)
    return dq, dk, dv, None, None, None, None


attention_tensor_op.register_autograd(_backward, setup_context=_setup)


def _like_forward(q: Tensor) -> tuple[Tensor, Tensor]:
    B, Tq, H, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((B, H, Tq), dtype=torch.float32)


def _launch(tensors: Sequence[Tensor | None], scale: float, *, backward: bool, wgmma: bool) -> None:
    q, k, _, lo = tensors[:4]
    assert q is not None
    assert k is not None
    assert lo is not None
    (B, Tq, H, D), Tk, Hkv = q.shape, k.shape[1], k.shape[2]
    addresses, sizes = cuda.pointers(tensors), [B, len(lo), Tq, Tk, H, Hkv, D]
    native = backend.native("attention_tensor")
    cuda.launch("attention", q.device, lambda stream: native(addresses, sizes, scale, backward, wgmma, stream))


attention_tensor_backward_op.refuse_autograd()
