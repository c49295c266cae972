"""A checkpoint as a model that predicts."""

from pathlib import Path
from typing import Any

import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import FormatError
from fasttrain.model.config import ModelConfig
from fasttrain.model.transformer import Transformer


def load_model(checkpoint: Path, *, device: str = "cpu") -> tuple[Transformer, dict[str, Any]]:
    """Return the model of a checkpoint, in float32 on `device`, and the checkpoint's meta.

    Optimizer state is read past, not kept. Raises: FormatError: a damaged checkpoint, or one that lacks a parameter.
    """
    found = store.load(checkpoint)
    config = ModelConfig.load(found.meta["model"], where=f"{checkpoint}: model")
    model = Transformer(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # one at a time: memory is one model and one tensor
            if name not in found.tensors or found.tensors[name].shape != parameter.shape:
                raise FormatError(
                    f"{checkpoint}: lacks {name} of shape {tuple(parameter.shape)}; use another checkpoint"
                )
            parameter.copy_(found.tensors[name])
    return model.to(device).eval(), {"step": found.step, **found.meta}
