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


attention_op = torch.library.custom_op("fasttrain::attention", forward, mutates_args=(), device_types="cpu")


@attention_op.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, lo: Tensor, hi: Tensor, scale: float, softcap: float, impl: str
) -> tuple[Tensor, Tensor]:
    return _like_forward(q)


@torch.library.custom_op("fasttrain::attention_backward", mutates_args=(), device_types="cpu")
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
