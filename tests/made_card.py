"""What tests of the CUDA kernels share."""

import pytest
import torch

from fasttrain.core import backend

HAS_CARD = backend.is_cuda_built() and torch.cuda.is_available()
CARD = torch.device("cuda")
ON_CARD = [pytest.mark.gpu, pytest.mark.skipif(not HAS_CARD, reason="needs a card and a build with CUDA")]


def to_card(tensors):
    """The same tensors (of a dict or tuple) there."""
    if isinstance(tensors, dict):
        return {name: x.cuda() if isinstance(x, torch.Tensor) else x for name, x in tensors.items()}
    return tuple(x.cuda() for x in tensors)
