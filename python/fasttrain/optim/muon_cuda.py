"""Muon's step on a card: one launch over a matrix, the bits of the CPU's."""

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.optim.stochastic import check_place


def muon_step_cuda_(
    param: Tensor,
    update: Tensor,
    *,
    keep: float,
    rate: float,
    step: int = 1,
    seed: int = 0,
    stream: int = 0,
    offset: int = 0,
    width: int = 0,
    pitch: int = 0,
) -> None:
    """Do param = param keep - update rate in place, on the current stream of the tensors' device, without waiting.

    Args:
        param, update: one shape, float32 or bfloat16 each, contiguous, on one CUDA device; bfloat16 parameters are
            rounded stochastically.
        keep, rate, step, seed, stream, offset, width, pitch: as `muon_step_` takes them.
    Raises: TypeError: another dtype or device. ValueError: a wrong shape, order, step, stream or offset.
    """
    op = "muon"
    for name, x in (("param", param), ("update", update)):
        if x.dtype not in (torch.float32, torch.bfloat16) or not x.is_cuda or x.device != param.device:
            raise TypeError(
                f"{op}: {name} must be float32 or bfloat16 on param's CUDA device, got {x.dtype} on {x.device}"
            )
        if x.shape != param.shape or not x.is_contiguous():
            raise ValueError(f"{op}: {name} must be contiguous with shape {tuple(param.shape)}, got {tuple(x.shape)}")
    check_place(op, param.numel(), step=step, stream=stream, offset=offset, width=width, pitch=pitch)
    halves = [x.dtype == torch.bfloat16 for x in (param, update)]
    tensors = [(None, x) if half else (x, None) for x, half in zip((param, update), halves)]
    addresses, native = cuda.pointers([*tensors[0], *tensors[1]]), backend.native("muon_step_cuda")
    place = [seed & 0xFFFFFFFFFFFFFFFF, step, stream, offset, width, pitch]
    cuda.launch(op, param.device, lambda on: native(addresses, param.numel(), keep, rate, place, on))
