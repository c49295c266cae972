"""Weights to begin from: those of another run's checkpoint or of a Hugging Face folder, also under a vocabulary that
was extended since.

Only weights are taken: the optimizer, the schedule and the order of batches start afresh. A row that the vocabulary
gained begins as the mean of its old pieces' rows, in the embedding and in an output matrix of its own; a reserved row
keeps its random draw. Source: mean of pieces is what most continued-pretraining recipes do; the mean of the whole
matrix, the other habit, puts all new tokens into one direction (arXiv 2604.02324).
"""

import logging
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError, FasttrainError
from fasttrain.formats import atomic, old_pieces
from fasttrain.formats.old_pieces import OldPieces
from fasttrain.formats.run_folder import RunFolder
from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_folder import is_hf_folder, read_config, read_weights
from fasttrain.model.init import initial
from fasttrain.tokenizer.tokenizer import Tokenizer, file_in
from fasttrain.train.config import TrainConfig

_BY_TOKEN = ("embed.weight", "head.weight")
_MAY_DIFFER = {"family", "vocab_size", "max_seq_len", "rope_theta", "rope_scaling", "dropout", "z_loss", "init_std"}
_MUP = ("mup_base_dim", "mup_base_head_dim")
log = logging.getLogger("fasttrain.train")


class Extended(Mapping[str, torch.Tensor]):
    """A checkpoint's tensors with a row for every id of the extended vocabulary; each is made when it is asked for."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], pieces: OldPieces, model: ModelConfig, seed: int) -> None:
        self._tensors, self._pieces, self._model, self._seed = tensors, pieces, model, seed

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        return (
            extend_rows(tensor, initial(self._model, name, self._seed), self._pieces) if name in _BY_TOKEN else tensor
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def extend_rows(old_VC: torch.Tensor, fresh_VC: torch.Tensor, pieces: OldPieces) -> torch.Tensor:
    """Return (V, C): old rows where they were, new ones the mean of their pieces' rows, the others from `fresh_VC`."""
    made = fresh_VC.clone()
    made[: len(old_VC)] = old_VC
    for i, ids in pieces.pieces.items():
        made[i] = old_VC[ids].float().mean(0)
    return made


def read(
    config: TrainConfig, model: ModelConfig, run: RunFolder, base: Path, seed: int
) -> Mapping[str, torch.Tensor] | None:
    """The tensors that `train.init_from` names, as `model` needs them; None when the key is not set.

    Args:
        run: the run that begins; its token shards say by which tokenizer they were made.
        base: the folder that relative paths start from.
    Raises: ConfigError: no checkpoint there, one of another model or vocabulary, or no map for the ids it lacks.
        FormatError: a damaged checkpoint, folder or map.
    """
    if not config.init_from:
        if config.init_pieces:
            raise ConfigError("train.init_pieces: says how rows of a checkpoint are extended; give train.init_from too")
        return None
    path = base / config.init_from
    found = _of_folder(path, model) if is_hf_folder(path) else _of_checkpoint(path, model)
    used, old_size = _tokenizer(run), found.model.vocab_size
    if not config.init_pieces:
        if old_size != model.vocab_size:
            raise ConfigError(
                f"train.init_from: {found.path} has {old_size} embedding rows, the model has {model.vocab_size}; set "
                "train.init_pieces to the old_pieces.json that `tokenizer extend` wrote"
            )
        if used and found.tokenizer and used != found.tokenizer:
            raise ConfigError(f"train.init_from: {path} was trained with another tokenizer than this run's shards")
        return found.tensors
    pieces = old_pieces.read(base / config.init_pieces)
    _check_pieces(pieces, base / config.init_pieces, old_size, model.vocab_size, found.tokenizer, used)
    return Extended(found.tensors, pieces, model, seed)


def branch(config: TrainConfig, model: ModelConfig, run: RunFolder, base: Path) -> store.Checkpoint | None:
    """The checkpoint whose optimizer `train.init_optimizer` goes on with; None when the key is not set.

    Raises: ConfigError: as `read` does, and for one that holds no optimizer.
    """
    if not config.init_optimizer:
        return None
    read(config, model, run, base, 0)  # what it refuses is refused here too
    if is_hf_folder(base / config.init_from):
        raise ConfigError(f"train.init_optimizer: {base / config.init_from} holds weights alone; leave the key out")
    found = store.load(_checkpoint(base / config.init_from))
    if not any(name.startswith("optim.") for name in found.tensors):
        raise ConfigError(f"train.init_optimizer: {found.path} holds weights alone; leave the key out")
    return found


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a run may begin from."""

    path: Path
    model: ModelConfig
    tensors: Mapping[str, torch.Tensor]
    tokenizer: str | None
    """Fingerprint of the tokenizer that it was trained with, where it is known."""


def _of_checkpoint(path: Path, model: ModelConfig) -> _Found:
    found = store.load(_checkpoint(path))
    old = ModelConfig.load(found.meta["model"], where=f"{found.path}: model")
    _check_model(old, model, _MAY_DIFFER)
    return _Found(path=found.path, model=old, tensors=found.tensors, tokenizer=_tokenizer(RunFolder(path)))


def _of_folder(path: Path, model: ModelConfig) -> _Found:
    """A Hugging Face folder; it knows no muP, so the multipliers that the run has are taken out of its weights."""
    old = read_config(path)
    _check_model(old, model, _MAY_DIFFER | set(_MUP))
    tensors = read_weights(path, old.model_copy(update={key: getattr(model, key) for key in _MUP}))
    return _Found(path=path, model=old, tensors=tensors, tokenizer=_folder_tokenizer(path))


def _folder_tokenizer(path: Path) -> str | None:
    file = file_in(path)
    if not file.is_file():
        return None
    try:
        return Tokenizer.load(file).fingerprint
    except FasttrainError as error:  # then the run's shards were made by a converted one, which cannot be compared
        log.warning("train.init_from: %s is not compared with the tokenizer of this run's shards: %s", file, error)
        return None


def _checkpoint(path: Path) -> Path:
    """A checkpoint by its own folder, its folder of checkpoints, or its run folder (the newest)."""
    if (path / store.MANIFEST).is_file():
        return store.check(path)
    folder = RunFolder(path).checkpoints
    folder = folder if folder.is_dir() else path
    newest = store.newest(folder)
    if newest is None:
        raise ConfigError(
            f"train.init_from: {path}: holds no checkpoint; give a run folder, a step-* folder or a Hugging Face one"
        )
    return newest


def _check_model(old: ModelConfig, new: ModelConfig, may_differ: Set[str]) -> None:
    was, wanted = old.to_dict(), new.to_dict()
    was |= {"num_kv_heads": old.Hkv, "head_dim": old.D, "ffn_dim": old.F}
    wanted |= {"num_kv_heads": new.Hkv, "head_dim": new.D, "ffn_dim": new.F}
    if new.positions == "learned":  # a row for each
        may_differ = may_differ - {"max_seq_len"}
    differ = [
        f"model.{k}: {was[k]} there, {wanted[k]} here" for k in wanted if k not in may_differ and was[k] != wanted[k]
    ]
    if differ:
        raise ConfigError(f"train.init_from: its checkpoint is of another model ({'; '.join(differ)})")


def _check_pieces(
    pieces: OldPieces, path: Path, old_size: int, new_size: int, trained: str | None, used: str | None
) -> None:
    if (pieces.old_vocab_size, pieces.new_vocab_size) != (old_size, new_size):
        raise ConfigError(
            f"train.init_pieces: {path} leads from {pieces.old_vocab_size} to {pieces.new_vocab_size} ids, the "
            f"checkpoint has {old_size} rows and the model {new_size}; give the map of this extension"
        )
    if trained and trained != pieces.old_fingerprint:
        raise ConfigError(f"train.init_pieces: {path} extends another tokenizer than the checkpoint was trained with")
    if used and used != pieces.new_fingerprint:
        raise ConfigError(
            f"train.init_pieces: {path} leads to another tokenizer than the one that made this run's shards; set "
            "tokenizer.path to the tokenizer.json beside the map"
        )


def _tokenizer(run: RunFolder) -> str | None:
    """Fingerprint of the tokenizer that made a run's token shards; None where there are none."""
    first = next(iter(sorted((run.shards / "train").glob("*/shard.json"))), None)
    return None if first is None else str(atomic.read_json(first)["tokenizer_fingerprint"])
