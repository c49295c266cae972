"""Attention: the face through which every model calls."""

import math
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend
from fasttrain.nn import attention_cuda, attention_ref
from fasttrain.nn.attention_op import attention_op, forward, heads_together, step
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.segments import check_cu_seqlens, check_segments, key_ranges

_MAX_D = 256  # csrc/nn/attention.h
_IMPLS = backend.implementations("attention")  # here, because torch.compile warns of a cached function inside
_FEW = 32  # queries of a kv head that make a decoding step; csrc/nn/attention.h
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    segments: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    window: int | None = None,
    ranges: tuple[Tensor, Tensor] | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    impl: str | None = None,
) -> Tensor:
    """Return softmax(scale q k^T) v for each head, a query seeing only keys that it may; differentiable.

    `q (B,Tq,H,D), k and v (B,Tk,Hkv,D) -> out (B,Tq,H,D)`; query head h uses kv head h // (H / Hkv) (GQA, MQA).
    Args:
        q, k, v: one floating dtype, one device; any strides (a cache (B, Tmax, Hkv, D) is cut to [:, :Tk]).
        causal: query i sees keys up to i + Tk - Tq (Tq < Tk with a KV cache).
        segments: (B, T) int32, needs Tq = Tk; a query sees only its run of equal ids; negative ids are
            padding and give 0.
        cu_seqlens: (num_docs + 1,) int32, needs Tq = Tk; the same by where documents begin among the B T tokens, with
            the end of the last; what lies behind it is padding.
        window: a query sees only keys less than so many tokens away (itself is 0 away).
        ranges: (lo, hi), each (B or 1, Tq) int32: query i sees keys lo[i] to hi[i] - 1, and nothing else is asked
            (causal must be False, the three above None).
        softcap: scores are softcap tanh(score / softcap), Gemma's; None: as they are.
        scale: 1 / sqrt(D) when None.
        impl: "reference" (by definition, fp32), "torch" (F.scaled_dot_product_attention), a native name or "cuda" (bf16
            of head dims 64 and 128 both ways; other head dims and fp32 forward only); these two without softcap; when
            None, what FASTTRAIN_IMPL names, else the fastest that runs here.
    Returns: (B, Tq, H, D), contiguous, q's dtype. A query that sees no key gives 0. Native implementations keep
        what is not finite from those who do not see it, both ways; the definition and torch multiply it by 0.
    Raises: TypeError: another dtype. ValueError: a wrong shape, number, combination or impl.
    """
    op = "attention"
    _check(op, q, k, v)
    if softcap is not None and not softcap > 0:
        raise ValueError(f"{op}: softcap must be above 0, got {softcap}; None leaves scores as they are")
    scale, softcap = 1.0 / math.sqrt(q.shape[3]) if scale is None else scale, softcap or 0.0
    documents = cu_seqlens if segments is None else segments
    plain = documents is None and window is None and ranges is None
    mask = causal, segments, cu_seqlens, window, ranges
    if plain:
        _check_causal(op, q, k, causal)
    else:
        _check_mask(op, q, k, *mask)
    impl = impl or os.environ.get("FASTTRAIN_IMPL") or _default(q, scale, softcap, masked=not plain)
    if softcap and impl in ("cuda", "torch"):
        names = list(_IMPLS) if q.is_cpu else ["reference"]
        raise ValueError(f"{op}: impl {impl!r} has no softcap; choose from {names}")
    if impl == "torch":
        return _torch(q, k, v, causal, None if plain else _ranges(q, k, *mask), scale)
    if impl == "cuda":
        lo, hi = _ranges(q, k, *mask)
        return attention_cuda.attention(op, q, k, v, lo, hi, scale)
    if impl not in _IMPLS:
        raise ValueError(f"{op}: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if documents is None and ranges is None and _is_step(q, k, v, impl):
        return step(q, k, v, causal, window, scale, softcap, impl)
    lo, hi = _ranges(q, k, *mask)
    if impl == "reference":
        return attention_ref.attention(q, k, v, lo, hi, scale, softcap)
    return _native(op, q, k, v, lo, hi, scale, softcap, impl)


def _default(q: Tensor, scale: float, softcap: float, *, masked: bool) -> str:
    elsewhere = "reference" if softcap else "torch"
    if not q.is_cpu:
        return "cuda" if not softcap and attention_cuda.is_faster(q, scale, documents=masked) else elsewhere
    # Native is 1.9-5 times as fast as torch's on CPU, both ways (benchmarks/nn/bench_attention.py).
    if q.dtype is torch.float64 or q.shape[3] > _MAX_D or _IMPLS[0] == "reference":
        return elsewhere
    return elsewhere if _IMPLS[0] == "scalar" and not softcap else _IMPLS[0]


def _check_causal(op: str, q: Tensor, k: Tensor, causal: bool) -> None:
    if causal and q.shape[1] > k.shape[1]:
        raise ValueError(f"{op}: causal needs Tq <= Tk, got Tq = {q.shape[1]} and Tk = {k.shape[1]}")


def _check_mask(
    op: str,
    q: Tensor,
    k: Tensor,
    causal: bool,
    segments: Tensor | None,
    cu_seqlens: Tensor | None,
    window: int | None,
    ranges: tuple[Tensor, Tensor] | None,
) -> None:
    (B, num_queries), num_keys = q.shape[:2], k.shape[1]
    if ranges is not None:
        if causal or segments is not None or cu_seqlens is not None or window is not None:
            raise ValueError(f"{op}: ranges say all: causal must be False; segments, cu_seqlens and window None")
        for x in ranges:
            if x.dtype != torch.int32:
                raise TypeError(f"{op}: ranges must have dtype int32, got {x.dtype}")
            if x.shape not in ((1, num_queries), (B, num_queries)) or x.shape != ranges[0].shape:
                raise ValueError(f"{op}: ranges must have shape {(B, num_queries)}, got {tuple(x.shape)}")
        return
    if segments is not None and cu_seqlens is not None:
        raise ValueError(f"{op}: documents come from segments or from cu_seqlens, got both")
    if segments is not None:
        check_segments(op, segments, (B, num_queries))
    if cu_seqlens is not None:
        check_cu_seqlens(op, cu_seqlens)
    if (segments is not None or cu_seqlens is not None) and num_queries != num_keys:
        what = "segments" if segments is not None else "cu_seqlens"
        raise ValueError(f"{op}: {what} need Tq = Tk, got Tq = {num_queries} and Tk = {num_keys}")
    _check_causal(op, q, k, causal)
    if window is not None and window < 1:
        raise ValueError(f"{op}: window must be at least 1, got {window}; None sees everything")


def _ranges(
    q: Tensor,
    k: Tensor,
    causal: bool,
    segments: Tensor | None,
    cu_seqlens: Tensor | None,
    window: int | None,
    ranges: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """(lo, hi), each (B or 1, Tq): the keys that each query sees."""
    if ranges is not None:
        lo, hi = (x.clamp(0, k.shape[1]) for x in ranges)  # what native code reads lies in the arrays
        return lo, hi
    return key_ranges(
        q.shape[1],
        k.shape[1],
        causal=causal,
        segments=segments,
        cu_seqlens=cu_seqlens,
        rows=q.shape[0],
        window=window,
        device=q.device,
    )


def _is_step(q: Tensor, k: Tensor, v: Tensor, impl: str) -> bool:
    """Whether this is a decoding step that native code takes as it is: few queries a kv head, no gradient."""
    (_, num_queries, num_heads, D), num_kv_heads = q.shape, k.shape[2]
    if impl == "reference" or num_queries * num_heads > _FEW * num_kv_heads or D % 16 or D > _MAX_D:
        return False
    return q.is_cpu and q.dtype in _NATIVE_DTYPES and not needs_operator(q, k, v)


def _native(
    op: str, q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, softcap: float, impl: str
) -> Tensor:
    D, dtype = q.shape[3], q.dtype
    if q.device.type != "cpu" or q.dtype == torch.float64:
        raise ValueError(f"{op}: impl {impl!r} takes fp32, bf16 or fp16 on the CPU, got {q.dtype} on {q.device.type}")
    if D > _MAX_D:
        raise ValueError(f"{op}: impl {impl!r} takes head dims up to {_MAX_D}, got {D}; use impl='torch'")
    # Zeros beyond D change neither the scores nor the values.
    if D % 16:
        q, k, v = (F.pad(x, (0, -D % 16)) for x in (q, k, v))
    if q.dtype == torch.float16:
        q, k, v = q.float(), k.float(), v.float()
    q, k, v = (heads_together(x) for x in (q, k, v))
    run = attention_op if needs_operator(q, k, v) else forward
    out, _ = run(q, k, v, lo.contiguous(), hi.contiguous(), scale, softcap, impl)
    result: Tensor = out if out.shape[3] == D and out.dtype == dtype else out[..., :D].to(dtype).contiguous()
    return result


def _check(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    dtype, queries, keys, values = q.dtype, q.shape, k.shape, v.shape
    is_one = dtype in _DTYPES and k.dtype is dtype and v.dtype is dtype
    if not is_one or not len(queries) == len(keys) == len(values) == 4:
        _refuse(op, q, k, v)
    B, _, H, D = queries
    if keys != values or keys[0] != B or keys[3] != D:
        raise ValueError(
            f"{op}: k and v must have shape (B, Tk, Hkv, D) with q's B and D, "
            f"got q {tuple(queries)}, k {tuple(keys)}, v {tuple(values)}"
        )
    if keys[2] == 0 or H % keys[2]:
        raise ValueError(f"{op}: H must be a multiple of Hkv, got H = {H} and Hkv = {keys[2]}")


def _refuse(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dtype not in _DTYPES or x.dtype != q.dtype:
            raise TypeError(f"{op}: q, k and v must have one floating dtype, got {q.dtype} and {name} {x.dtype}")
        if x.ndim != 4:
            raise ValueError(f"{op}: {name} must have shape (B, T, H, D), got {tuple(x.shape)}")


def _torch(q: Tensor, k: Tensor, v: Tensor, causal: bool, ranges: tuple[Tensor, Tensor] | None, scale: float) -> Tensor:
    mask = None
    if ranges is None and causal and 1 < q.shape[1] < k.shape[1]:  # torch's is_causal counts from the first key
        ranges = key_ranges(q.shape[1], k.shape[1], causal=True, device=q.device)
    if ranges is not None:
        mask = attention_ref.mask(*ranges, k.shape[1])[:, None]
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
