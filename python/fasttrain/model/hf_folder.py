"""A Hugging Face folder as a model to begin from: config.json and *.safetensors, all checked before any is read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_config import from_hf_config
from fasttrain.model.hf_weights import FromHf, stored

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_DTYPES = ("F64", "F32", "F16", "BF16")
# Buffers that older versions of transformers saved: masks and tables that follow from the configuration.
_BUFFERS = re.compile(r"(.*\.)?(attn\.(bias|masked_bias)|rotary_emb\.inv_freq)")


def is_hf_folder(path: Path) -> bool:
    """Whether a folder is one of transformers (a config.json that names a model_type)."""
    file = path / CONFIG
    if not file.is_file():
        return False
    config = atomic.read_json(file)
    return isinstance(config, dict) and "model_type" in config


def read_config(path: Path) -> ModelConfig:
    """The model that the folder holds. Raises FormatError naming the key that cannot be had."""
    return from_hf_config(atomic.read_json(path / CONFIG), where=str(path / CONFIG))


def read_weights(path: Path, model: ModelConfig) -> Mapping[str, torch.Tensor]:
    """Its parameters under our names, fp32, each read when it is asked for.

    Args:
        model: that of the folder (`read_config`), or with muP, whose multipliers then come out of the weights.
    Raises: FormatError: a tensor is missing, is one too many, or has another shape or dtype.
    """
    held = _contents(path)
    bare = not any(name.startswith(("model.", "transformer.")) for name in held)  # saved from the model without head
    wanted = {(_bare(name) if bare else name): made for name, made in stored(model).items()}
    for name, made in wanted.items():
        if name not in held:
            raise FormatError(f"{path}: lacks {name} of shape {made.shape}; the folder is not whole")
        _, dtype, shape = held[name]
        if dtype not in _DTYPES:
            raise FormatError(f"{path}: {name} must hold {', '.join(_DTYPES)}, got {dtype}; save it unquantised")
        if shape != made.shape:
            raise FormatError(f"{path}: {name} must have shape {made.shape}, got {shape}")
    extra = [n for n in held if n not in wanted and not _BUFFERS.fullmatch(n)]
    if model.tied_embeddings:
        extra = [n for n in extra if n != "lm_head.weight"]  # a copy of the embedding, which transformers ties as well
    if extra:
        raise FormatError(f"{path}: holds {extra[0]}, which a {model.family or 'model'} of this config.json has not")

    def read(name: str) -> torch.Tensor:
        name = _bare(name) if bare else name
        with _opened(held[name][0]) as tensors:
            tensor: torch.Tensor = tensors.get_tensor(name)
        return tensor

    return FromHf(model, read)


def _bare(name: str) -> str:
    return re.sub(r"^(model|transformer)\.", "", name)


def _contents(path: Path) -> dict[str, tuple[Path, str, tuple[int, ...]]]:
    """Tensor name -> its file, dtype and shape."""
    index = path / INDEX
    if index.is_file():
        where = atomic.read_json(index).get("weight_map")
        if not isinstance(where, dict):
            raise FormatError(f"{index}: must hold a weight_map; fetch it again")
        files = sorted({path / str(file) for file in where.values()})
    else:
        files = sorted(path.glob("*.safetensors"))
    if not files:
        raise FormatError(f"{path}: holds no *.safetensors; save the model with safe_serialization=True")
    held = {}
    for file in files:
        with _opened(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                part = tensors.get_slice(name)
                held[str(name)] = file, str(part.get_dtype()), tuple(part.get_shape())
    return held


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{file}: cannot be read ({error}); fetch it again") from error
