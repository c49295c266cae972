"""GELU by its tanh formula (Hendrycks & Gimpel 2016), as GPT-2 has it: the face."""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.nn import gelu_cuda, gelu_ref
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.gelu_op import forward, gelu_op

_IMPLS = backend.implementations("gelu")  # here, because torch.compile warns of a cached function inside
_NATIVE_DTYPES = (torch.float32, torch.bfloat16)


def gelu(x: Tensor, *, impl: str | None = None) -> Tensor:
    """Return x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, computed in fp32; differentiable. Only x is kept for
    backward.

    Shapes: x (...,) -> (...,), contiguous.
    Args:
        impl: "reference" (by definition), "torch" (F.gelu), a native name (CPU, fp32 and bf16) or "cuda" (the same on a
            card); when None, what FASTTRAIN_IMPL names, else the fastest that runs here, which for a compiler is
            torch's: it fuses that.
    Raises: ValueError: a wrong impl.
    """
    impl = _choose(x, impl)
    if impl == "torch":
        return F.gelu(x, approximate="tanh")
    if impl == "reference":
        return gelu_ref.gelu(x)
    if impl == "cuda":
        on_card: Tensor = gelu_cuda.gelu_op(x.contiguous())
        return on_card
    run = gelu_op if needs_operator(x) else forward
    out: Tensor = run(x.contiguous(), impl)
    return out


def _choose(x: Tensor, impl: str | None) -> str:
    is_native = x.device.type == "cpu" and x.dtype in _NATIVE_DTYPES
    impl = impl or os.environ.get("FASTTRAIN_IMPL")
    if impl is None and torch.compiler.is_compiling():
        return "torch"
    if impl in (None, "cuda") and x.dtype in _NATIVE_DTYPES and cuda.is_built(x):
        return "cuda"
    if impl is None:
        return _IMPLS[0] if is_native and _IMPLS[0] != "reference" else "torch"
    if impl not in ("torch", *_IMPLS):
        raise ValueError(f"gelu: impl {impl!r} cannot run here; choose from {['torch', *_IMPLS]}")
    if impl not in ("torch", "reference") and not is_native:
        raise ValueError(
            f"gelu: impl {impl!r} takes fp32 or bf16 on the CPU, got {x.dtype} on {x.device.type}; use impl='torch'"
        )
    return impl
