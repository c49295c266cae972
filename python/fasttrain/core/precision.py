"""Mixed precision: weights, gradients and optimizer state stay float32; products run in what `precision` names.

bf16_stochastic: products in bf16 as well, and matrices are kept in bf16 alone, rounded stochastically at each step.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16", "bf16_stochastic", "fp16"]
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "bf16_stochastic": torch.bfloat16,
    "fp16": torch.float16,
}

# What a CPU that multiplies bf16 is said to have: x86, x86 with tiles, ARM. Without one of them torch emulates bf16
# with a scalar loop: 0.8 GFLOP/s against 138 in fp32 on a Zen 3 of two cores (torch 2.13.0).
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 itself; a CPU is taken not to where an older torch cannot tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _CPU_BF16)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context of a forward pass."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])
