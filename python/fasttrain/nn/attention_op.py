"""Native attention as torch operators with fake kernels and a gradient, so that torch.compile sees through them.

fp32 or bf16, D % 16 == 0 and the D values of a head together, other strides as they come: the face makes it so. Threads
are torch's; the result does not depend on their number.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn.arrays import array


def forward(
    q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, softcap: float, impl: str
) -> tuple[Tensor, Tensor]:
    """Return (out (B,Tq,H,D), stats (B,H,Tq,2)); lo and hi (B or 1, Tq) int32 are the keys that each query sees;
    softcap 0: none."""
    out, stats = _like_forward(q)
    arrays = [array(x) for x in (q, k, v, lo, hi, out, stats)]
    work = _work(q, k, backward=False)
    backend.native("attention")(*arrays, work, scale, softcap, torch.get_num_threads(), impl)
    return out, stats


def step(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, window: int | None, scale: float, softcap: float, impl: str
) -> Tensor:
    """Return out (B,Tq,H,D) of at most `attention_few` queries a kv head, by addresses and without statistics: arrays,
    tensors of ranges and scratch took longer than a step against a short cache."""
    strides = q.stride(), k.stride(), v.stride()
    if not strides[0][3] == strides[1][3] == strides[2][3] == 1:
        q, k, v = (heads_together(x) for x in (q, k, v))
        strides = q.stride(), k.stride(), v.stride()
    out = torch.empty_like(q) if q.is_contiguous() else q.new_empty(q.shape)  # the first is the faster one
    addresses = q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr()
    layout = q.shape, k.shape, *strides, q.dtype is torch.bfloat16
    threads = torch.get_num_threads()
    backend.native("attention_step")(*addresses, *layout, causal, window or 0, scale, softcap, threads, impl)
    return out


attention_op = operator("fasttrain::attention")(forward)


@attention_op.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, softcap: float, impl: str
) -> tuple[Tensor, Tensor]:
    return _like_forward(q)


@operator("fasttrain::attention_backward")
def attention_backward_op(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    out: Tensor,
    stats: Tensor,
    scale: float,
    softcap: float,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (dq, dk, dv)."""
    gradients = like_backward(q, k, v)
    arrays = [array(x) for x in (q, k, v, lo, hi, out, stats, heads_together(dout), *gradients)]
    work = _work(q, k, backward=True)
    backend.native("attention_backward")(*arrays, work, scale, softcap, torch.get_num_threads(), impl)
    return gradients


@attention_backward_op.register_fake
def _(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    out: Tensor,
    stats: Tensor,
    scale: float,
    softcap: float,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return like_backward(q, k, v)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, lo, hi, ctx.scale, ctx.softcap, ctx.impl = inputs
    ctx.save_for_backward(q, k, v, lo, hi, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, dout: Tensor, _dstats: Tensor) -> tuple[Tensor | None, ...]:
    dq, dk, dv = attention_backward_op(dout, *ctx.saved_tensors, ctx.scale, ctx.softcap, ctx.impl)
    return dq, dk, dv, None, None, None, None, None


attention_op.register_autograd(_backward, setup_context=_setup)


def _like_forward(q: Tensor) -> tuple[Tensor, Tensor]:
    B, Tq, H, _ = q.shape
    return pages.new_empty(q, q.shape), pages.new_empty(q, (B, H, Tq, 2), dtype=torch.float32)


def like_backward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Room for (dq, dk, dv)."""
    return pages.new_empty(q, q.shape), pages.new_empty(k, k.shape), pages.new_empty(v, v.shape)


def heads_together(x: Tensor) -> Tensor:
    """x (B, T, H, D), copied only where the D values of a head do not lie together."""
    return x if x.stride(3) == 1 else x.contiguous()


def _work(q: Tensor, k: Tensor, *, backward: bool) -> npt.NDArray[np.float32]:
    B, Tq, H, D = q.shape
    bf16 = q.dtype == torch.bfloat16
    return np.empty(backend.native("attention_work")(B, Tq, k.shape[1], H, k.shape[2], D, bf16, backward), np.float32)


attention_backward_op.refuse_autograd()
