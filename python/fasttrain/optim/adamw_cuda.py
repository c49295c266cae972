"""AdamW and sums of squares on a card, over many arrays by one call; the bits of the CPU's."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.optim import adamw_ref
from fasttrain.optim.stochastic import check_place


def adamw_cuda_(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    grad_scale: float | Tensor = 1.0,
    copy: Tensor | None = None,
    zero_grad: bool = False,
    seed: int = 0,
    stream: int = 0,
    offset: int = 0,
    width: int = 0,
    pitch: int = 0,
) -> None:
    """Do one AdamW step in place, on the current stream of the tensors' device, without waiting for it.

    Args:
        param, grad, m, v: one shape, float32, contiguous, on one CUDA device; param may be bfloat16, which is rounded
            stochastically.
        grad_scale: multiplied into the gradient first; a tensor of one float32 on the device stays there (`clip_`).
        copy: bfloat16 of param's shape; takes the new parameters.
        zero_grad: whether to leave zeros in `grad`, in the same pass.
        seed, stream, offset, width, pitch: of stochastic rounding, as `adamw_` takes them.
    Raises: TypeError: another dtype or device. ValueError: a wrong shape, order, step, stream or offset.
    """
    op, is_half = "adamw", param.dtype == torch.bfloat16
    _check(param, grad, m, v, copy)
    check_place(op, param.numel(), step=step, stream=stream, offset=offset, width=width, pitch=pitch)
    scale = grad_scale if isinstance(grad_scale, Tensor) else None
    if scale is not None and (scale.dtype != torch.float32 or scale.device != param.device or scale.numel() != 1):
        raise TypeError(f"{op}: grad_scale must be one float32 on param's device, got {scale.dtype} on {scale.device}")
    factor = 1.0 if isinstance(grad_scale, Tensor) else grad_scale
    c = adamw_ref.coefficients(step, lr, betas, eps, weight_decay, factor).astype(np.float32)
    exact, half = (None, param) if is_half else (param, copy)
    addresses, native = cuda.pointers([exact, grad, m, v, half, scale]), backend.native("adamw_cuda")
    place = [seed & 0xFFFFFFFFFFFFFFFF, step, stream, offset, width, pitch]
    cuda.launch(op, param.device, lambda stream: native(addresses, param.numel(), c, zero_grad, place, stream))


Arrays = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""param, grad, m, v, copy."""


def adamw_pieces_cuda_(pieces: Sequence[tuple[Arrays, Mapping[str, Any]]], *, zero_grad: bool = False) -> None:
    """Do `adamw_cuda_` of many pieces, one launch each, all by one call: from Python a launch takes longer than the
    update of a matrix of a million values.

    Args:
        pieces: (param, grad, m, v, copy) as `adamw_cuda_` takes them, param float32, all on one device, and the step,
            lr, betas, eps, weight_decay and grad_scale (a number) of each.
    Raises: TypeError, ValueError: those of `adamw_cuda_`.
    """
    addresses: list[int] = []
    sizes: list[int] = []
    rows: list[Any] = []
    made: dict[Any, Any] = {}  # most pieces share their settings
    for arrays, s in pieces:
        _check(*arrays)
        if arrays[0].dtype != torch.float32 or arrays[0].device != pieces[0][0][0].device:
            raise TypeError(f"adamw: param must be float32 on one device, got {arrays[0].dtype} on {arrays[0].device}")
        key = (s["step"], s["lr"], tuple(s["betas"]), s["eps"], s["weight_decay"], s["grad_scale"])
        if key not in made:
            made[key] = adamw_ref.coefficients(*key).astype(np.float32)
        rows.append(made[key])
        addresses += cuda.pointers(arrays)
        sizes.append(arrays[0].numel())
    if not sizes:
        return
    native, c = backend.native("adamw_pieces_cuda"), np.stack(rows)
    cuda.launch("adamw", pieces[0][0][0].device, lambda stream: native(addresses, sizes, c, zero_grad, stream))


def _check(param: Tensor, grad: Tensor, m: Tensor, v: Tensor, copy: Tensor | None) -> None:
    op, is_half = "adamw", param.dtype == torch.bfloat16
    for name, x in (("param", param), ("grad", grad), ("m", m), ("v", v), ("copy", copy)):
        if x is None:
            continue
        dtype = torch.bfloat16 if name == "copy" or (name == "param" and is_half) else torch.float32
        if x.dtype != dtype or not x.is_cuda or x.device != param.device:
            raise TypeError(f"{op}: {name} must be {dtype} on param's CUDA device, got {x.dtype} on {x.device}")
        if x.shape != param.shape or not x.is_contiguous():
            raise ValueError(f"{op}: {name} must be contiguous with shape {tuple(param.shape)}, got {tuple(x.shape)}")
    if is_half and copy is not None:
        raise ValueError(f"{op}: copy must be None where param is bf16, which needs none")


def sum_squares_cuda(tensors: Iterable[Tensor]) -> list[float]:
    """Return each tensor's sum of squares in fp64, with the bits of `sum_squares`; waits for the card once.

    Args:
        tensors: float32 on one CUDA device, contiguous.
    """
    views = [x.detach() for x in tensors]
    counts = [_num_blocks(x) for x in views]
    if not sum(counts):
        return [0.0] * len(views)
    sums = _blocks(views, counts).tolist()
    ends = np.cumsum(counts).tolist()
    # fsum is exact, so blocks may be added in any order; it refuses inf - inf, which squares cannot give
    return [math.fsum(sums[end - count : end]) for end, count in zip(ends, counts)]


def clip_cuda(flat: Tensor, clip_norm: float) -> Tensor:
    """Return (2,) float32 on the device: the norm of `flat`, and what gradients are multiplied by; without waiting.

    The coefficient is min(1, clip_norm / norm), 1 when clip_norm is 0 (no clipping).
    """
    blocks = _blocks([flat.detach()], [_num_blocks(flat)])
    out = torch.empty(2, device=flat.device)
    native = backend.native("clip_cuda")
    cuda.launch("clip", flat.device, lambda s: native(blocks.data_ptr(), out.data_ptr(), len(blocks), clip_norm, s))
    return out


def _num_blocks(x: Tensor) -> int:
    return -(-x.numel() // int(backend.constant("sum_squares_block")))


def _blocks(views: list[Tensor], counts: list[int]) -> Tensor:
    for x in views:
        if x.dtype != torch.float32 or not x.is_cuda or x.device != views[0].device or not x.is_contiguous():
            raise TypeError(f"sum_squares: tensors must be contiguous float32 on one card, got {x.dtype} on {x.device}")
    out = torch.empty(sum(counts), dtype=torch.float64, device=views[0].device)
    addresses, sizes, native = cuda.pointers(views), [x.numel() for x in views], backend.native("sum_squares_cuda")
    cuda.launch("sum_squares", out.device, lambda stream: native(addresses, sizes, out.data_ptr(), stream))
    return out
