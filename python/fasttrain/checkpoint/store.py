"""Checkpoints on disk: which are finished and whole, the newest, the best, and which may go.

checkpoints/step-00000100/rank-00000-000.safetensors   tensors under their global names, as each rank wrote them
checkpoints/step-00000100/manifest.json                what lies where, sha256 of every file, the run's plain state
checkpoints/scores.json                                validation loss by step, known only after the state was saved

A checkpoint is written in a hidden folder and renamed when it is complete, so a folder named step-* is a finished one.
Nothing in it is ever changed, and reading it runs no code of its own.
"""

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.core.config import fingerprint
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import atomic

log = logging.getLogger("fasttrain.checkpoint")
FORMAT = 1
MANIFEST, SCORES = "manifest.json", "scores.json"
EMA = "ema."  # before the names of averaged weights
_NAME, _FILES = re.compile(r"step-(\d{8,})"), "*.safetensors"


class Tensors(Mapping[str, torch.Tensor]):
    """The tensors of a checkpoint by global name, each read from disk when it is asked for."""

    def __init__(self, folder: Path, files: Mapping[str, str], *, prefix: str = "") -> None:
        """Args: files: by name, in `folder`. prefix: before each name within the files."""
        self.files = dict(files)
        self._folder, self._prefix = folder, prefix

    def __getitem__(self, name: str) -> torch.Tensor:
        path = self._folder / self.files[name]
        try:
            with safe_open(path, framework="pt") as file:
                tensor: torch.Tensor = file.get_tensor(self._prefix + name)
        except (OSError, SafetensorError) as error:
            raise FormatError(f"{path}: {name} cannot be read ({error}); use another checkpoint") from error
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A finished checkpoint."""

    path: Path
    step: int
    tensors: Tensors
    meta: dict[str, Any]

    def averaged(self) -> "Checkpoint":
        """The same with the averaged weights in the place of the last ones. Raises ConfigError when it holds none."""
        files = {name.removeprefix(EMA): file for name, file in self.tensors.files.items() if name.startswith(EMA)}
        if not files:
            raise ConfigError(f"{self.path}: holds no averaged weights; train with train.ema_decay")
        return replace(self, tensors=Tensors(self.path, files, prefix=EMA))


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def steps(folder: Path) -> list[int]:
    """Steps of the finished checkpoints, rising, damaged ones too; what is half-written is none."""
    if not folder.is_dir():
        return []
    # Files without a manifest: it was lost later, for a folder gets its name behind it.
    names = [_NAME.fullmatch(p.name) for p in folder.iterdir() if (p / MANIFEST).is_file() or any(p.glob(_FILES))]
    return sorted(int(m.group(1)) for m in names if m)


def load(path: Path) -> Checkpoint:
    """Open a finished checkpoint; tensors are read when asked for. Raises FormatError when its manifest is damaged.

    File sizes are compared, hashes are not: `newest`, `best` and `named` do that, and so does `verify`.
    """
    manifest = _read_manifest(path)
    if problems := [text for file in manifest["files"] if (text := _size_problem(path, file))]:
        raise FormatError(f"{'; '.join(problems)}; use another checkpoint")
    return Checkpoint(
        path=path, step=manifest["step"], tensors=Tensors(path, manifest["tensors"]), meta=manifest["meta"]
    )


def verify(path: Path) -> None:
    """Read every file and compare it with its hash. Raises FormatError naming all that are missing, cut or changed."""
    problems = []
    for file in _read_manifest(path)["files"]:
        text = _size_problem(path, file)
        if not text and atomic.sha256(path / file["path"]) != file["sha256"]:
            text = f"{path / file['path']}: its bytes are not those that were written"
        problems += [text] if text else []
    if problems:
        raise FormatError("; ".join(problems))


def _size_problem(path: Path, file: Mapping[str, Any]) -> str:
    found = path / file["path"]
    if not found.is_file():
        return f"{found}: is missing"
    size = found.stat().st_size
    return "" if size == file["bytes"] else f"{found}: must hold {file['bytes']} bytes, holds {size}"


def check(path: Path) -> Path:
    """Verify one checkpoint and return its folder. A FormatError also offers the newest whole one beside it."""
    try:
        verify(path)
    except FormatError as error:
        raise FormatError(f"{error}; {_offer(path)}") from error
    return path


def _offer(path: Path) -> str:
    folder, taken = path.parent, _NAME.fullmatch(path.name)
    for step in reversed(steps(folder)):
        if taken and step == int(taken.group(1)):
            continue
        try:
            verify(path_of(folder, step))
        except FormatError:
            continue
        return f"the newest whole checkpoint beside it is step {step} ({path_of(folder, step)})"
    return "no other checkpoint beside it is whole"


def newest(folder: Path) -> Path | None:
    """The newest checkpoint whose bytes are whole; None when there is none at all.

    A damaged one is passed over with a warning. Raises FormatError when every one is damaged: starting afresh in
    silence would throw a run away.
    """
    found = steps(folder)
    for step in reversed(found):
        path = path_of(folder, step)
        try:
            verify(path)
        except FormatError as error:
            log.warning("checkpoint of step %d is damaged and passed over: %s", step, error)
        else:
            return path
    if found:
        raise FormatError(f"{folder}: all {len(found)} checkpoints are damaged; remove the folder to train afresh")
    return None


def best(folder: Path) -> Path | None:
    """The checkpoint with the lowest recorded validation loss, the newer one of equals; None when none was recorded.

    Raises FormatError when its bytes are damaged, with the newest whole one to use instead.
    """
    step = best_step(steps(folder), read_scores(folder))
    return None if step is None else check(path_of(folder, step))


def named(folder: Path, name: str) -> Path:
    """The checkpoint that "newest", "best" or a step's number names.

    Raises: ConfigError: there is none of that name. FormatError: it is damaged; names another that is whole.
    """
    found = steps(folder)
    there = f"there are steps {', '.join(map(str, found))}" if found else "there is none; run `train` first"
    path: Path | None = None
    if name in ("newest", "best"):
        path = newest(folder) if name == "newest" else best(folder)
    elif not name.isdigit():
        raise ConfigError(f"checkpoint: must be newest, best or a step's number, got {name!r}; {there}")
    elif int(name) in found:
        path = check(path_of(folder, int(name)))
    if path is None:
        raise ConfigError(f"checkpoint: no {name!r} in {folder}; {there}")
    return path


def read_scores(folder: Path) -> dict[int, float]:
    """Recorded validation loss by step."""
    path = folder / SCORES
    return {int(step): float(loss) for step, loss in atomic.read_json(path).items()} if path.exists() else {}


def record(folder: Path, step: int, val_loss: float | None) -> None:
    """Note the validation loss of a step's checkpoint; None forgets it."""
    scores = read_scores(folder)
    scores.pop(step, None)
    if val_loss is not None and math.isfinite(val_loss):
        scores[step] = val_loss
    atomic.write_json(folder / SCORES, {str(s): scores[s] for s in sorted(scores)})


def best_step(found: list[int], scores: Mapping[int, float]) -> int | None:
    """The step of the lowest loss among `found`, the newer one of equals."""
    return min((s for s in found if s in scores), key=lambda s: (scores[s], -s), default=None)


def superfluous(found: list[int], scores: Mapping[int, float], config: CheckpointConfig) -> list[int]:
    """Steps that need not be kept: never one of the newest, never the best while `keep_best`, never a `keep_every`."""
    kept = set(sorted(found)[-config.keep :])
    if config.keep_every:
        kept |= {step for step in found if step % config.keep_every == 0}
    top = best_step(found, scores)
    if config.keep_best and top is not None:
        kept.add(top)
    return sorted(set(found) - kept)


def prune(folder: Path, config: CheckpointConfig) -> list[int]:
    """Remove what need not be kept; return the steps removed."""
    gone = superfluous(steps(folder), read_scores(folder), config)
    for step in gone:
        remove(folder, step)
    return gone


def remove(folder: Path, step: int) -> None:
    """Remove one checkpoint; it is hidden first, so that a kill half way leaves none that looks finished."""
    hidden = folder / f".step-{step:08d}.removed"
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(path_of(folder, step), hidden)
    shutil.rmtree(hidden)


def clean(folder: Path) -> None:
    """Remove what killed writers left behind. Only the run that writes here may call it.

    A checkpoint that was moved aside for one of the same step, which then did not come, takes its place again.
    """
    if not folder.is_dir():
        return
    for temporary in folder.glob(f".{SCORES}.*.tmp"):
        temporary.unlink()
    for hidden in sorted(folder.glob(".step-*")):
        final = folder / hidden.name[1:].removesuffix(".replaced")
        if hidden.name.endswith(".replaced") and not final.exists():
            os.replace(hidden, final)
        else:
            shutil.rmtree(hidden)
            log.info("%s: half-written, removed", hidden)


def write_manifest(
    folder: Path, step: int, files: list[dict[str, Any]], where: Mapping[str, str], meta: Mapping[str, Any]
) -> None:
    """Write the manifest: files with sizes and hashes, the file of each tensor, and `meta`, all under one hash."""
    body = {"format": FORMAT, "step": step, "files": files, "tensors": dict(where), "meta": dict(meta)}
    atomic.write_json(folder / MANIFEST, {**body, "fingerprint": fingerprint(body)})


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = atomic.read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{path / MANIFEST}: checkpoint format must be {FORMAT}; use another checkpoint")
    if manifest.pop("fingerprint", None) != fingerprint(manifest):
        raise FormatError(f"{path / MANIFEST}: its content is not what was written; use another checkpoint")
    return manifest
