"""Tensors on a card as the pointers that kernels take."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fasttrain.core import backend

_BUILT = backend.is_cuda_built()  # here, because torch.compile warns of a cached function inside
_LEAVES_FP32 = hasattr(torch.ops.aten.mm, "dtype_out")


def aligned(x: Tensor) -> Tensor:
    """`x` contiguous, from a multiple of 16 bytes on; a copy where it is not."""
    x = x.contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


def pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    """Addresses, 0 for None."""
    return [0 if x is None else x.data_ptr() for x in tensors]


def launch(op: str, device: torch.device, start: Callable[[int], int]) -> None:
    """Call `start(stream)` with the device's current stream. Raises RuntimeError: it gives a CUDA error."""
    with torch.cuda.device(device):
        status = start(torch.cuda.current_stream().cuda_stream)
    if status:
        raise RuntimeError(f"{op}: the CUDA kernel must launch, got cudaError {status}")


def mm_fp32(a: Tensor, b: Tensor) -> Tensor:
    """The product of two bf16 matrices on a card, in fp32; a torch older than 2.8 rounds it to bf16 first."""
    return torch.mm(a, b, out_dtype=torch.float32) if _LEAVES_FP32 else torch.mm(a, b).float()


def is_built(x: Tensor) -> bool:
    """Whether `x` is on a card that the compiled kernels run on (Ampere or newer)."""
    return _BUILT and x.is_cuda and _is_ampere(x.device.index)


def is_built_for(device: torch.device) -> bool:
    """Whether a device is such a card."""
    return _BUILT and device.type == "cuda" and _is_ampere(device.index)


def is_hopper(x: Tensor) -> bool:
    """Whether `x` is on a card that has Hopper's own instructions."""
    return x.is_cuda and _is_hopper(x.device.index)


def _is_ampere(index: int | None) -> bool:
    return torch.cuda.get_device_capability(index) >= (8, 0)


def _is_hopper(index: int | None) -> bool:
    return torch.cuda.get_device_capability(index) == (9, 0)


# What torch.compiler.assume_constant_result sets; to call that would import torch._dynamo, which takes seconds.
for _constant in (_is_ampere, _is_hopper):
    _constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
