"""What a rebuild made again and what it left as it was: the stages' files before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fasttrain.audit.ledger import STAGES, document_files
from fasttrain.core.config import Settings
from fasttrain.core.errors import FormatError
from fasttrain.corpus.removals import Removals
from fasttrain.formats import manifest, shards
from fasttrain.formats.manifest import Manifest
from fasttrain.formats.run_folder import RunFolder

PREPARE = (*STAGES, "tokenizer", "shards", "mixture")
Snapshot = dict[str, tuple[Manifest, int, dict[str, int]]]


class StageRebuilt(Settings):
    """What happened to one stage's files."""

    stage: str
    """The stage."""
    ran: bool
    """Whether it had anything to do."""
    made_again: tuple[str, ...]
    """Files that were written again, or are new."""
    equal: int
    """How many of those have the bytes that they had."""
    gone: tuple[str, ...]
    """Files that are no more."""
    stayed: int
    """Files that were not touched."""


def snapshot(run: RunFolder) -> Snapshot:
    """The finished stages: manifest, its time, and the time of each file."""
    found: Snapshot = {}
    for name in PREPARE:
        folder = run.stage(name)
        path = folder / manifest.NAME
        if path.exists():
            m = manifest.read(folder)
            found[name] = m, path.stat().st_mtime_ns, {f.path: _time(folder / f.path) for f in m.files}
    return found


def compare(before: Snapshot, after: Snapshot) -> tuple[StageRebuilt, ...]:
    """What was made again, stage by stage."""
    result = []
    for name, (m, time, times) in after.items():
        old, old_time, old_times = before.get(name, (None, 0, {}))
        known = {f.path: f.sha256 for f in old.files} if old is not None else {}
        again = [f for f in m.files if times[f.path] != old_times.get(f.path)]
        result.append(
            StageRebuilt(
                stage=name,
                ran=time != old_time,
                made_again=tuple(f.path for f in again),
                equal=sum(known.get(f.path) == f.sha256 for f in again),
                gone=tuple(sorted(known.keys() - {f.path for f in m.files})),
                stayed=len(m.files) - len(again),
            )
        )
    return tuple(result)


def check(run: RunFolder, removals: Removals, documents: Sequence[tuple[str, ...]]) -> None:
    """Look for what must be gone. Raises FormatError naming the file that still holds a document of the list.

    Args:
        documents: the doc_ids (hex) of each: its own, and its tail's. A record number may name another document by
            now, when the lake's file was edited; one that the corpus holds rightly is not looked for further.
    """
    held: set[str] = set()
    for stage in STAGES:
        for path in [p for files in document_files(run, stage).values() for p in files]:
            table: Any = pq.read_table(path, columns=["doc_id", "text_hash"])
            ids = np.array(table.column("doc_id").to_pylist(), "S16")
            if stage == "corpus":
                held.update(d[0] for d in documents if _any(ids, d[:1]))
            left = [name for d in documents if d[0] not in held for name in d]
            if (stage == "corpus" and removals.find(table).any()) or _any(ids, left):
                raise FormatError(f"audit forget: {path} still holds a document of the request; prepare the run again")
    left = [name for d in documents if d[0] not in held for name in d]
    for phase in ("train", "probe"):
        for source, shard in shards.open_shards(run.shards / phase).items():
            if _any(np.ascontiguousarray(shard.doc_ids).view("S16").ravel(), left):
                raise FormatError(f"audit forget: the shard {phase}/{source} still holds a document of the request")


def _any(ids: Any, names: Sequence[str]) -> bool:
    return bool(np.isin(ids, np.array([bytes.fromhex(n) for n in names], "S16")).any())


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
