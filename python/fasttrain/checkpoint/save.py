"""Writing a checkpoint from every rank at once, beside the training or in line with it.

The calls of `Saver` are collective and run in the main thread; the writing may run in a thread of each rank. That
thread never uses MPI (its calls would mix with the training's): a rank that has written puts down rank-*.json, and rank
0, when it sees every rank's, writes the manifest and renames the folder. An error of any rank raises on all of them at
the next `save` or `wait`.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors

from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import Group
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic

Named = Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]
FILE_BYTES = 256 << 20  # a file is made in memory before it is written


def save(folder: Path, step: int, tensors: Named, meta: Mapping[str, Any], world: Group) -> Path:
    """Write the checkpoint of `step` and return its folder when it is finished. Called by every rank.

    Args:
        tensors: this rank's part under global names, whole tensors; over all ranks each name comes once. Pairs may be
            made one at a time: no more than a file's worth is held.
        meta: plain data (what JSON holds); rank 0's counts.
    Raises: FormatError: the disk is full; an older checkpoint of the step is as it was. ValueError: a name came twice.
    """
    saver = Saver(folder, CheckpointConfig(async_write=False), world, prune=False)
    saver.save(step, tensors, meta)
    return store.path_of(folder, step)


class Saver:
    """Saves one run's checkpoints and removes old ones. The only writer of `folder`; made by every rank.

    Leftovers of a killed run are removed at the start. Call `wait` before reading the newest checkpoint back, and at
    the end of a run.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, world: Group, *, prune: bool = True) -> None:
        self.folder, self.config, self.world = folder, config, world
        self._prune = prune
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._cancelled = threading.Event()
        self._lock = threading.Lock()  # scores and removals: the main thread and rank 0's writer
        if world.is_root:
            store.clean(folder)
        world.barrier()

    def save(self, step: int, tensors: Named, meta: Mapping[str, Any]) -> None:
        """Save the state after `step`; see the function `save`. With async_write it returns when the copy is taken."""
        self.wait()
        temporary = self.folder / f".step-{step:08d}.new"
        plain = json.loads(json.dumps(meta))  # training goes on changing lists that `meta` may hold
        pairs = iter(tensors.items() if isinstance(tensors, Mapping) else tensors)
        if self.world.is_root:
            self._try(self._prepare, step, temporary)
        self._agree()
        if self.config.async_write:
            copies = [(name, _copy(tensor)) for name, tensor in pairs]
            self._cancelled.clear()
            self._thread = threading.Thread(
                target=self._try, args=(self._write, step, temporary, copies, plain), name="checkpoint"
            )
            self._thread.start()
            return
        self._try(write_rank, temporary, self.world.rank, ((name, _copy(tensor)) for name, tensor in pairs))
        for _ in pairs:  # making a pair may be collective: a rank that failed goes on to the end with the others
            pass
        self._agree()
        if self.world.is_root:
            self._try(self._commit, step, temporary, plain)
        self._agree()

    def record(self, step: int, val_loss: float) -> None:
        """Note the validation loss of a saved step; which one is best decides what is kept."""
        if self.world.is_root:
            with self._lock:
                store.record(self.folder, step, val_loss)
                self._remove_old()

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises what went wrong, on every rank."""
        thread, self._thread = self._thread, None
        if thread is not None and not self.world.is_root:
            thread.join()
        # Rank 0's thread waits for the others' files, which after an error of theirs would never come.
        failed = self.world.allgather(None if self.world.is_root else _text(self._error))
        if thread is not None and self.world.is_root:
            if any(failed):
                self._cancelled.set()
            thread.join()
        self._agree()

    def _try(self, work: Callable[..., None], *args: Any) -> None:
        """Run `work`; what it raises is raised on every rank by the next `_agree`."""
        try:
            work(*args)
        except Exception as error:
            self._error = error

    def _agree(self) -> None:
        """Raise on every rank when any of them has failed."""
        failed = [text for text in self.world.allgather(_text(self._error)) if text]
        error, self._error = self._error, None
        if error is not None:
            raise error
        if failed:
            raise FormatError(failed[0])

    def _prepare(self, step: int, temporary: Path) -> None:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with self._lock:
            if step in store.read_scores(self.folder):  # of an earlier state of this step
                store.record(self.folder, step, None)

    def _write(self, step: int, temporary: Path, copies: Iterable[tuple[str, torch.Tensor]], meta: Any) -> None:
        """What a rank's thread does."""
        write_rank(temporary, self.world.rank, copies)
        if not self.world.is_root:
            return
        while not all(_marker(temporary, rank).exists() for rank in range(self.world.size)):
            if self._cancelled.wait(0.02):
                return
        self._commit(step, temporary, meta)

    def _commit(self, step: int, temporary: Path, meta: Mapping[str, Any]) -> None:
        """Turn the folder that every rank has written into a finished checkpoint."""
        files, where = _join(temporary, self.world.size)
        store.write_manifest(temporary, step, files, where, meta)
        final, aside = store.path_of(self.folder, step), self.folder / f".step-{step:08d}.replaced"
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        os.replace(temporary, final)
        atomic.sync_folder(self.folder)
        shutil.rmtree(aside, ignore_errors=True)
        with self._lock:
            # Later steps are another past: training went back behind them (they were damaged, or a spike led to them).
            for later in store.steps(self.folder):
                if later > step and self._prune:
                    store.remove(self.folder, later)
            self._remove_old()

    def _remove_old(self) -> None:
        if self._prune:
            store.prune(self.folder, self.config)


def write_rank(folder: Path, rank: int, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Write one rank's tensors (on the CPU, contiguous) in files of about FILE_BYTES, and last the list of them."""
    files: list[dict[str, Any]] = []

    def flush(group: dict[str, torch.Tensor]) -> None:
        path = folder / f"rank-{rank:05d}-{len(files):03d}.safetensors"
        data = to_safetensors(group)
        atomic.write_bytes(path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        files.append({"path": path.name, "bytes": len(data), "sha256": sha256, "tensors": list(group)})

    group: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        if name in group:
            raise ValueError(f"checkpoint: each tensor must be given once, {name} came twice")
        if group and sum(t.nbytes for t in group.values()) + tensor.nbytes > FILE_BYTES:
            flush(group)
            group = {}
        group[name] = tensor
    if group:
        flush(group)
    # Not synced: rank 0 may rename the folder as soon as it sees the list, which nobody needs behind that.
    atomic.write_json(_marker(folder, rank), files, durable=False)


def _join(folder: Path, num_ranks: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Every rank's files, and the file of each tensor; the ranks' lists are removed."""
    files: list[dict[str, Any]] = []
    where: dict[str, str] = {}
    for rank in range(num_ranks):
        for file in atomic.read_json(_marker(folder, rank)):
            for name in file.pop("tensors"):
                if name in where:
                    raise ValueError(f"checkpoint: each tensor must be given once, {name} came twice")
                where[name] = file["path"]
            files.append(file)
        _marker(folder, rank).unlink()
    return files, where


def _marker(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank:05d}.json"


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous copy on the CPU: training changes the original, and safetensors refuses views of one buffer."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def _text(error: BaseException | None) -> str | None:
    return None if error is None else f"{error}" or type(error).__name__
