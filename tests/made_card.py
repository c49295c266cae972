"""What tests of the CUDA kernels share."""

import warnings
from contextlib import contextmanager

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


@contextmanager
def nobody_waits():
    """Raise RuntimeError where the block makes the host wait for the card; what was begun before is done with first."""
    torch.cuda.synchronize()
    try:
        _set_sync_mode("error")
        yield
    finally:
        _set_sync_mode("default")


def _set_sync_mode(mode):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype feature", UserWarning)
        torch.cuda.set_sync_debug_mode(mode)
