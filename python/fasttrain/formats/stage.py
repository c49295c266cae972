"""How a stage runs: in parts, on every rank, resumable, with the same bytes however often it was interrupted.

A stage's folder holds `<phase>/part-00007.parquet` (or other files), `<phase>/part-00007.json` (the part is finished:
its files, counts and hashes) and, at the end, `manifest.json`. A part is a pure function of its inputs and the stage's
settings, so it may be made by any rank in any order. A part that is too much for one rank is made in pieces, each with
files of its own (`<phase>/part-00007-00002.parquet`), by every rank that has nothing else to do (pieces.py).
"""

import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc

from fasttrain.comm.group import Group
from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.core.log import progress
from fasttrain.formats import atomic, claims, manifest
from fasttrain.formats.behind import Behind
from fasttrain.formats.manifest import FileEntry, Manifest, Report
from fasttrain.formats.part import PartReport, PartWriter, part_stem
from fasttrain.formats.pieces import Cut, Pieces

log = logging.getLogger("fasttrain.stage")
T = TypeVar("T")
_MARKER = re.compile(r"part-(\d+)(?:-(\d+))?\.json")


class Stage:
    """One stage of one run folder, seen by one rank."""

    def __init__(self, name: str, folder: Path, inputs: Sequence[tuple[Path, Manifest]], world: Group) -> None:
        self.name, self.folder, self.inputs, self.world = name, folder, tuple(inputs), world
        self.extra: dict[str, Any] = {}
        self._reports: dict[str, list[PartReport]] = {}
        self._output: list[str] = []
        self._files: list[FileEntry] = []

    def input_parts(self, which: int = 0, phase: str = "") -> list[Path]:
        """Document files of the input stage number `which`, in order (only those below `phase/`, if given).

        Files that `PartWriter.write` gave a name of their own (`part-00007.ledger.parquet`) are none.
        """
        folder, m = self.inputs[which]
        names = [f.path for f in m.files if f.path.endswith(".parquet") and "." not in Path(f.path).stem]
        return [folder / n for n in names if not phase or n.startswith(f"{phase}/")]

    def hash_of(self, path: Path) -> str:
        """SHA-256 of a file of an input stage, from its manifest. For the keys of a stage that is made part by part."""
        return self._hashes[path]

    @cached_property
    def _hashes(self) -> dict[Path, str]:
        return {folder / f.path: f.sha256 for folder, m in self.inputs for f in m.files}

    def map_parts(
        self,
        phase: str,
        items: Sequence[T],
        work: Callable[[T, PartWriter], None],
        *,
        key: Callable[[T], Any] = str,
        weight: Callable[[T], float] | None = None,
        output: bool = True,
        durable: bool | None = None,
        cut: "Cut[T] | None" = None,
        label: str = "",
    ) -> list[PartReport]:
        """Run `work(item, writer)` for each item on some rank; return every part's report, on every rank, in order.

        A rank takes the next part when it has finished its last one (claims.py), the heaviest by `weight` first, so
        that none waits long at the end. A part whose marker carries the same fingerprint of `key(item)` (plain data
        that says what the part reads) is not made again. `output=False`: the files are intermediate and stay out of
        the manifest, and are not forced onto the disk unless `durable` says so: two ranks that sync many small files
        wait for each other, and what a power cut leaves cut off is made again. `cut`: items that are large are made in
        pieces, by ranks side by side.
        """
        items, durable = list(items), output if durable is None else durable
        if output and phase not in self._output:
            self._output.append(phase)
        order = sorted(range(len(items)), key=lambda i: -weight(items[i])) if weight else range(len(items))
        if self.world.is_root:
            self._drop_stale(phase, lambda i: i < len(items), lambda i: cut is not None and cut.is_large(items[i]))
        start, busy, made = time.monotonic(), 0.0, 0
        with (
            progress(label or f"{self.name}/{phase}", len(items), "parts", enabled=self.world.is_root) as bar,
            claims.Claims(self.folder / phase, self.world) as shared,
            Behind() as behind,
        ):
            note = partial(bar.advance, 0)
            pieces = Pieces(self, phase, items, cut, key, shared, behind, note, durable=durable) if cut else None
            for index in order:
                if shared.take(index):
                    began = time.monotonic()
                    if pieces is None or not pieces.make_part(index):
                        of = fingerprint([phase, key(items[index])])
                        behind.begin(self.make(phase, index, of, partial(work, items[index]), durable=durable))
                    busy, made = busy + time.monotonic() - began, made + 1
                bar.advance(1)
            behind.wait()
            if pieces is not None:
                pieces.help()
        self.world.barrier()
        log.debug("%s/%s: %.2f s, this rank made %d of %d parts in %.2f s",
                  self.name, phase, time.monotonic() - start, made, len(items), busy)  # fmt: skip
        reports = [self.read_part(phase, i) for i in range(len(items))]
        self._reports[phase] = reports
        return reports

    def _drop_stale(self, phase: str, exists: Callable[[int], bool], is_large: Callable[[int], bool]) -> None:
        """Remove parts and pieces that there are no more, of a run whose input had others."""
        for index, piece in self.made(phase):
            if not exists(index) or (piece is not None and not is_large(index)):
                if _is_json(self.marker(phase, index, piece)):
                    self.drop_part(phase, index, piece)
                else:
                    self.marker(phase, index, piece).unlink()

    def make(
        self, phase: str, index: int, key: str, work: Callable[[PartWriter], None], *, piece: int | None = None,
        durable: bool,
    ) -> Callable[[], None]:  # fmt: skip
        """Make a part, or a piece of one, unless it is there; what is still to be done to finish it."""
        if self.is_finished(phase, index, key, piece=piece, durable=durable):
            return lambda: None
        if self.marker(phase, index, piece).exists():
            self.drop_part(phase, index, piece)
        writer = PartWriter(self.folder, phase, index, piece=piece, durable=durable)
        try:
            work(writer)
        except BaseException:
            writer.__exit__(*sys.exc_info())
            raise

        def finish() -> None:
            with writer:
                report = writer.close()
            self.write_marker(phase, index, key, report, piece=piece, durable=durable)

        return finish

    def is_finished(self, phase: str, index: int, key: str, *, piece: int | None = None, durable: bool) -> bool:
        """Whether a part, or a piece, is there under this key, its files whole."""
        marker = self.marker(phase, index, piece)
        if not durable and marker.exists() and not _is_json(marker):  # cut off with the power
            marker.unlink()
        if not marker.exists():
            return False
        found = atomic.read_json(marker)
        return found["key"] == key and all(_is_whole(self.folder, FileEntry.load(f)) for f in found["files"])

    def write_marker(
        self, phase: str, index: int, key: str, report: PartReport, *, piece: int | None = None, durable: bool
    ) -> None:
        """Say that a part, or a piece, is finished."""
        atomic.write_json(self.marker(phase, index, piece), {"key": key, **report.to_dict()}, durable=durable)

    def made(self, phase: str) -> list[tuple[int, int | None]]:
        """(index, piece) of what was finished before, under whatever key: parts, behind each its pieces."""
        found = (_MARKER.fullmatch(path.name) for path in (self.folder / phase).glob("part-*.json"))
        pairs = [(int(m[1]), int(m[2]) if m[2] else None) for m in found if m]
        return sorted(pairs, key=lambda pair: (pair[0], -1 if pair[1] is None else pair[1]))

    def drop_part(self, phase: str, index: int, piece: int | None = None) -> None:
        """Remove a finished part and its files: it is made again, maybe with fewer. Before map_parts: for the root."""
        files = self.read_part(phase, index, piece).files
        self.marker(phase, index, piece).unlink()
        for file in files:
            (self.folder / file.path).unlink(missing_ok=True)

    def marker(self, phase: str, index: int, piece: int | None = None) -> Path:
        """The file that says that a part, or a piece, is finished."""
        return self.folder / phase / f"{part_stem(index, piece)}.json"

    def read_part(self, phase: str, index: int, piece: int | None = None) -> PartReport:
        """The report of a finished part or piece."""
        data = atomic.read_json(self.marker(phase, index, piece))
        del data["key"]
        return PartReport.load(data)

    def on_root(self, work: Callable[[], Any]) -> Any:
        """Run `work` on rank 0 while the others wait; its result, on every rank."""
        return self.world.bcast(work() if self.world.is_root else None)

    def add_file(self, path: Path, rows: int) -> None:
        """Put a file that is no part's output (written whole, by the root) into the manifest. Called by every rank."""
        self._files.append(self.on_root(lambda: manifest.entry(self.folder, path, rows)))

    def report(self) -> Report:
        """The sum over the parts of the output phases."""
        total = Report()
        for phase in self._output:
            for part in self._reports[phase]:
                total += part.report
        return total

    def files(self) -> tuple[FileEntry, ...]:
        """Files of the output phases, in order of phase and part, then those of `add_file`."""
        return (*(f for phase in self._output for part in self._reports[phase] for f in part.files), *self._files)


def run_stage(
    name: str,
    *,
    folder: Path,
    config: Settings,
    inputs: Sequence[Path],
    world: Group,
    body: Callable[[Stage], Report | None],
    source_fingerprint: Any = None,
    revision: Any = None,
    by_part: bool = False,
) -> Manifest:
    """Bring the stage's folder to a finished state and return its manifest, on every rank.

    A finished stage with the same settings, inputs and `source_fingerprint` (plain data that stands for inputs that are
    not stages: the files of a lake) is not run again; one of other settings is made anew; an interrupted one goes on.
    `revision`: plain data that touches some parts only (removal requests). When nothing else has changed, the finished
    parts stay, and `body` must first drop those that the new revision touches (`Stage.drop_part`).
    `by_part`: the key of every part names all that the part reads (`Stage.hash_of`), so that when the input stages
    change and nothing else does, parts of files that have the bytes they had stay as they are.
    `body` returns the stage's report, or None to take the sum over its output parts.
    """
    manifests = [(path, manifest.read(path)) for path in inputs]
    inputs_fp = fingerprint([manifest.input_fingerprint([m for _, m in manifests]), source_fingerprint])
    identity = {"stage": name, "config": config.fingerprint(), "inputs": inputs_fp}
    # What must be the same for finished parts to be asked for their keys.
    lasting = {**identity, "inputs": fingerprint([source_fingerprint])} if by_part else identity
    revision_fp = "" if revision is None else fingerprint(revision)
    start = time.monotonic()

    def prepare() -> Manifest | None:
        if (folder / manifest.NAME).exists():
            done = manifest.read(folder)
            found = {"stage": done.stage, "config": done.config_fingerprint, "inputs": done.input_fingerprint}
            same = found == identity and done.revision_fingerprint == revision_fp
            if same and not manifest.missing_files(folder, done):
                log.info("%s: finished before, kept %d documents", name, done.report.kept)
                return done
        begun = folder / "begun.json"
        if folder.exists() and not (begun.exists() and atomic.read_json(begun) == lasting):
            log.info("%s: settings or inputs changed, made anew", name)
            shutil.rmtree(folder)
        (folder / manifest.NAME).unlink(missing_ok=True)
        atomic.write_json(begun, lasting)
        return None

    done = world.bcast(prepare() if world.is_root else None)
    if done is not None:
        return Manifest.load(done.to_dict())
    stage = Stage(name, folder, manifests, world)
    result = body(stage) or stage.report()
    world.barrier()
    finished = Manifest(
        stage=name,
        config=config.to_dict(),
        config_fingerprint=identity["config"],
        input_fingerprint=inputs_fp,
        revision_fingerprint=revision_fp,
        files=stage.files(),
        report=result.model_copy(update={"seconds": round(time.monotonic() - start, 3)}),
        extra=stage.extra,
        versions=manifest.versions(),
    )
    if world.is_root:
        finished.write(folder)
        drops = ", ".join(f"{k} {v}" for k, v in sorted(result.dropped.items(), key=lambda kv: -kv[1])[:4])
        log.info("%s: kept %d, dropped %d (%s) in %.1f s", name, result.kept, sum(result.dropped.values()),
                 drops or "nothing", finished.report.seconds)  # fmt: skip
    world.barrier()
    return finished


def _is_json(path: Path) -> bool:
    try:
        return isinstance(atomic.read_json(path), dict)
    except FormatError:
        return False


def _is_whole(folder: Path, file: FileEntry) -> bool:
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.bytes


def documents_bytes(batch: Any) -> int:
    """UTF-8 bytes of a batch's texts."""
    total = pc.sum(pc.binary_length(batch.column("text"))).as_py()
    return int(total or 0)


def evidence(**values: Any) -> str:
    """A ledger evidence column's cell."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True)
