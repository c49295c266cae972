"""torch.optim.Optimizer's parameter groups."""

import inspect
from typing import Any

import torch


def add_param_group(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    """Optimizer.add_param_group without its wrapper, which loads all of torch.compile (75 MB) to tell it to pass by."""
    inspect.unwrap(torch.optim.Optimizer.add_param_group)(optimizer, group)
