"""Attention: the face through which every model calls."""

import math
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend
from fasttrain.nn import attention_cuda, attention_ref
from fasttrain.nn.attention_op import attention_op
from fasttrain.nn.segments import check_segments, key_ranges

_MAX_D = 256  # csrc/nn/attention.h
_IMPLS = backend.implementations("attention")  # here, because torch.compile warns of a cached function inside
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    segments: Tensor | None = None,
    scale: float | None = None,
    impl: str | None = None,
) -> Tensor:
    """Return softmax(scale q k^T) v for each head, a query seeing only keys that it may; differentiable.

    `q (B,Tq,H,D), k and v (B,Tk,Hkv,D) -> out (B,Tq,H,D)`; query head h uses kv head h // (H / Hkv) (GQA, MQA).
    Args:
        q, k, v: one floating dtype, one device; any strides.
        causal: query i sees keys up to i + Tk - Tq (Tq < Tk with a KV cache).
        segments: (B, T) int32, needs Tq = Tk; a query sees only its run of equal ids; negative ids are
            padding and give 0.
        scale: 1 / sqrt(D) when None.
        impl: "reference" (by definition, fp32), "torch" (F.scaled_dot_product_attention), a native name or "cuda" (bf16
            of head dims 64 and 128 both ways; other head dims and fp32 forward only); when None, what FASTTRAIN_IMPL
            names, else the fastest that runs here.
    Returns: (B, Tq, H, D), contiguous, q's dtype. A query that sees no key gives 0.
    Raises: TypeError: another dtype. ValueError: a wrong shape or impl.
    """
    op = "attention"
    _check(op, q, k, v)
    num_queries, num_keys = q.shape[1], k.shape[1]
    if segments is not None:
        check_segments(op, segments, (q.shape[0], num_queries))
        if num_queries != num_keys:
            raise ValueError(f"{op}: segments need Tq = Tk, got Tq = {num_queries} and Tk = {num_keys}")
    if causal and num_queries > num_keys:
        raise ValueError(f"{op}: causal needs Tq <= Tk, got Tq = {num_queries} and Tk = {num_keys}")
    scale = 1.0 / math.sqrt(q.shape[3]) if scale is None else scale
    impl = impl or os.environ.get("FASTTRAIN_IMPL") or _default(q, scale, segments)
    if impl == "cuda":
        lo, hi = key_ranges(num_queries, num_keys, causal=causal, segments=segments, device=q.device)
        return attention_cuda.attention(op, q, k, v, lo, hi, scale)
    if impl == "torch":
        return _torch(q, k, v, causal, segments, scale)
    if impl not in _IMPLS:
        raise ValueError(f"{op}: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    lo, hi = key_ranges(num_queries, num_keys, causal=causal, segments=segments, device=q.device)
    if impl == "reference":
        return attention_ref.attention(q, k, v, lo, hi, scale)
    return _native(op, q, k, v, lo, hi, scale, impl)


def _default(q: Tensor, scale: float, segments: Tensor | None) -> str:
    if attention_cuda.is_faster(q, scale, documents=segments is not None):
        return "cuda"
    # Native is 1.6-2.7 times as fast as torch's on CPU, both ways (benchmarks/nn/bench_attention.py); packing the keys
    # does not pay for the few queries of a decoding step.
    few = q.shape[1] < 16 and not (torch.is_grad_enabled() and q.requires_grad)
    if q.device.type != "cpu" or q.dtype == torch.float64 or q.shape[3] > _MAX_D or few:
        return "torch"
    return "torch" if _IMPLS[0] in ("scalar", "reference") else _IMPLS[0]


def _native(op: str, q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, impl: str) -> Tensor:
    D = q.shape[3]
    if q.device.type != "cpu" or q.dtype == torch.float64:
        raise ValueError(f"{op}: impl {impl!r} takes fp32, bf16 or fp16 on the CPU, got {q.dtype} on {q.device.type}")
    if D > _MAX_D:
        raise ValueError(f"{op}: impl {impl!r} takes head dims up to {_MAX_D}, got {D}; use impl='torch'")
    # Zeros beyond D change neither the scores nor the values.
    q32, k32, v32 = (F.pad(x.float(), (0, -D % 16)).contiguous() for x in (q, k, v))
    out, _ = attention_op(q32, k32, v32, lo.contiguous(), hi.contiguous(), scale, impl)
    result: Tensor = out[..., :D].to(q.dtype).contiguous()
    return result


def _check(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dtype not in _DTYPES or x.dtype != q.dtype:
            raise TypeError(f"{op}: q, k and v must have one floating dtype, got {q.dtype} and {name} {x.dtype}")
        if x.ndim != 4:
            raise ValueError(f"{op}: {name} must have shape (B, T, H, D), got {tuple(x.shape)}")
    if k.shape != v.shape or k.shape[0] != q.shape[0] or k.shape[3] != q.shape[3]:
        raise ValueError(
            f"{op}: k and v must have shape (B, Tk, Hkv, D) with q's B and D, "
            f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    if k.shape[2] == 0 or q.shape[2] % k.shape[2]:
        raise ValueError(f"{op}: H must be a multiple of Hkv, got H = {q.shape[2]} and Hkv = {k.shape[2]}")


def _torch(q: Tensor, k: Tensor, v: Tensor, causal: bool, segments: Tensor | None, scale: float) -> Tensor:
    mask = None
    if segments is not None or (causal and 1 < q.shape[1] < k.shape[1]):  # torch's is_causal counts from the first key
        lo, hi = key_ranges(q.shape[1], k.shape[1], causal=causal, segments=segments, device=q.device)
        mask = attention_ref.mask(lo, hi, k.shape[1])[:, None]
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=causal and mask is None and q.shape[1] == k.shape[1],
        scale=scale,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return out.transpose(1, 2).contiguous()
