"""A checkpoint as a Hugging Face folder: config.json, safetensors, tokenizer, generation settings, model card.

A model of no family that transformers knows (model/family.py) is refused. Loads offline in transformers and whatever
reads its format (vLLM, llama.cpp's converter). The folder is there whole or
not at all: it is written beside, synced and renamed.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from fasttrain.checkpoint import store
from fasttrain.core.errors import FormatError
from fasttrain.export.card import datasheet, model_card
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_config import exported_family, to_hf_config
from fasttrain.model.hf_weights import to_hf
from fasttrain.model.init import param_shapes
from fasttrain.tokenizer import sentencepiece_file, sentencepiece_json
from fasttrain.tokenizer.sentencepiece import EOT_NAMES

Dtype = Literal["float32", "bfloat16", "float16"]
MAX_SHARD_BYTES = 5 << 30  # the hub's own limit for one file


def write_folder(
    model: ModelConfig,
    tensors: Mapping[str, torch.Tensor],
    tokenizer: Path,
    folder: Path,
    *,
    card: str = "",
    beside: Sequence[Path] = (),
    dtype: Dtype = "float32",
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write the folder and return it; an older export in its place is replaced when the new one is complete.

    Args:
        tensors: full parameters under fasttrain's names; others (optimizer state) are left out.
        tokenizer: tokenizer.json, or a SentencePiece .model, which is written as one and copied beside it.
        card: README.md.
        beside: files to copy into the folder.
    Raises: FormatError: a parameter is missing or of another shape, no tokenizer, one that no tokenizer.json can say, a
        full disk. ConfigError: a model of no family.
    """
    exported_family(model)
    _check(model, tensors)
    files = tokenizer_files(tokenizer)
    special = end_of_text(json.loads(files["tokenizer.json"]), str(tokenizer))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _write_weights(model, tensors, temporary, getattr(torch, dtype), max_shard_bytes)
        atomic.write_json(temporary / "config.json", to_hf_config(model, eot_id=special["id"], dtype=dtype))
        ids = {"bos_token_id": special["id"], "eos_token_id": special["id"], "pad_token_id": special["id"]}
        atomic.write_json(temporary / "generation_config.json", ids)
        for name, content in files.items():
            atomic.write_bytes(temporary / name, content)
        atomic.write_json(temporary / "tokenizer_config.json", _tokenizer_config(model, special["content"]))
        if card:
            atomic.write_bytes(temporary / "README.md", card.encode())
        for path in beside:
            atomic.write_bytes(temporary / path.name, path.read_bytes())
        _take_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def tokenizer_files(tokenizer: Path) -> dict[str, bytes]:
    """The files of a tokenizer by name: tokenizer.json, and the .model file that it was made of.

    Raises: FormatError: no such file, damaged, or a .model that no tokenizer.json can say.
    """
    if tokenizer.suffix != ".model":
        atomic.read_json(tokenizer)  # raises where it is none
        return {"tokenizer.json": tokenizer.read_bytes()}
    model = sentencepiece_file.read(tokenizer)
    made = json.dumps(sentencepiece_json.to_json(model, str(tokenizer)), ensure_ascii=False, indent=1) + "\n"
    return {"tokenizer.json": made.encode(), "tokenizer.model": model.data}


def end_of_text(tokenizer: dict[str, Any], where: str) -> dict[str, Any]:
    """The end-of-text token of a tokenizer.json's content, {"id", "content"}: the special token of that name, else the
    one of the lowest id."""
    added = tokenizer.get("added_tokens", [])
    special = sorted((t for t in added if t.get("special")), key=lambda t: int(t["id"]))
    named = [t for name in EOT_NAMES for t in special if t["content"] == name]
    named += [t for t in special if "endoftext" in t["content"]]
    if not special:
        raise FormatError(f"{where}: must hold a special end-of-text token, got none; train the tokenizer again")
    found = (named or special)[0]
    return {"id": int(found["id"]), "content": str(found["content"])}


def _check(model: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, shape in param_shapes(model).items():
        if name not in tensors:
            raise FormatError(f"export: the checkpoint lacks {name}; it is not of this model")
        if tuple(tensors[name].shape) != shape:
            raise FormatError(f"export: {name} must have shape {shape}, got {tuple(tensors[name].shape)}")


def _write_weights(
    model: ModelConfig, tensors: Mapping[str, torch.Tensor], folder: Path, dtype: torch.dtype, max_bytes: int
) -> None:
    groups: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, whole in to_hf(model, tensors):
        tensor = whole.to("cpu", dtype).contiguous()
        if groups[-1] and size + tensor.nbytes > max_bytes:
            groups.append({})
            size = 0
        groups[-1][name] = tensor
        size += tensor.nbytes
    where: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        one = len(groups) == 1
        file = "model.safetensors" if one else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        with atomic.replacing(folder / file) as path:
            save_file(group, path, metadata={"format": "pt"})
        where |= dict.fromkeys(group, file)
    if len(groups) > 1:
        total = sum(t.nbytes for g in groups for t in g.values())
        atomic.write_json(
            folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where}
        )


def _tokenizer_config(model: ModelConfig, end: str) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "model_max_length": model.max_seq_len,
        "clean_up_tokenization_spaces": False,
    }


def _take_place(temporary: Path, folder: Path) -> None:
    atomic.sync_folder(temporary)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    atomic.sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def to_huggingface(
    checkpoint: Path,
    tokenizer: Path,
    folder: Path,
    *,
    run: RunFolder | None = None,
    dtype: Dtype = "float32",
    weights: Literal["last", "ema"] = "last",
) -> Path:
    """Write a checkpoint as a Hugging Face folder and return the folder.

    Args:
        checkpoint: folder of one checkpoint.
        tokenizer: tokenizer.json or a SentencePiece .model.
        folder: to write; replaced whole when it exists.
        run: the run folder that the model card describes; found from the checkpoint's place when None.
        dtype: of the weights.
        weights: the last step's, or their average, where train.ema_decay has kept one.
    Raises: FormatError: a damaged or foreign checkpoint, no end-of-text token, a full disk.
    """
    found = store.load(checkpoint) if weights == "last" else store.load(checkpoint).averaged()
    model = ModelConfig.load(found.meta["model"], where=f"{checkpoint}: model")
    tensors = {name: found.tensors[name] for name in param_shapes(model) if name in found.tensors}
    run = run or _run_of(checkpoint)
    card = model_card(model, {"step": found.step, **found.meta}, run)
    beside = datasheet(run) if run is not None else []
    return write_folder(model, tensors, tokenizer, folder, card=card, beside=beside, dtype=dtype)


def _run_of(checkpoint: Path) -> RunFolder | None:
    """The run folder of <run>/train/checkpoints/<step>."""
    parents = checkpoint.resolve().parents
    root = parents[2] if len(parents) > 2 else None
    return RunFolder(root) if root is not None and (root / "recipe.json").exists() else None
