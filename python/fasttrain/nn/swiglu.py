"""SwiGLU's product (Shazeer 2020): the face."""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.nn import swiglu_cuda, swiglu_ref
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.swiglu_op import forward, swiglu_op

_IMPLS = backend.implementations("swiglu")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


def swiglu(gate: Tensor, up: Tensor, *, impl: str | None = None) -> Tensor:
    """Return silu(gate) * up, computed in fp32; differentiable. Of both only the inputs are kept for backward.

    Shapes: gate, up (..., F), one dtype -> (..., F), contiguous.
    Args:
        impl: "reference" (by definition), "torch" (F.silu), a native name (CPU, fp32 and bf16) or "cuda" (the same on a
            card); when None, what FASTTRAIN_IMPL names, else the fastest that runs here.
    Raises: ValueError: a wrong shape or impl. TypeError: two dtypes.
    """
    if gate.shape != up.shape:
        raise ValueError(f"swiglu: up must have shape {tuple(gate.shape)}, got {tuple(up.shape)}")
    if gate.dtype != up.dtype:
        raise TypeError(f"swiglu: gate and up must have one dtype, got {gate.dtype} and {up.dtype}")
    impl = _choose(gate, impl)
    if impl == "torch":
        return F.silu(gate) * up
    if impl == "reference":
        return swiglu_ref.swiglu(gate, up)
    if impl == "cuda":
        if not gate.ndim:
            return swiglu(gate[None], up[None], impl=impl)[0]
        on_card: Tensor = swiglu_cuda.swiglu_op(gate.contiguous(), up.contiguous())
        return on_card
    run = swiglu_op if needs_operator(gate, up) else forward
    out: Tensor = run(gate.contiguous(), up.contiguous(), impl)
    return out


def _choose(gate: Tensor, impl: str | None) -> str:
    is_native = gate.device.type == "cpu" and gate.dtype in _NATIVE_DTYPES
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl in (None, "cuda") and gate.dtype in _NATIVE_DTYPES and cuda.is_built(gate):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"swiglu: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"swiglu: impl {impl!r} takes fp32 or bf16 on the CPU, got {gate.dtype} on {gate.device.type}; "
            "use impl='torch'"
        )
    return impl
