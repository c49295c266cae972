"""Tensors as the arrays that native ops take."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def array(x: Tensor) -> npt.NDArray[Any]:
    """The memory of a contiguous CPU tensor; bf16, which numpy does not have, as its bits in uint16."""
    x = x.detach() if x.requires_grad else x
    memory: npt.NDArray[Any] = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return memory
