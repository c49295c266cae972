"""One part of a stage, or a piece of one: its files, its ledger rows, its counts."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fasttrain.core.config import Settings
from fasttrain.formats import atomic, ledger, manifest
from fasttrain.formats.manifest import FileEntry, Report


class PartReport(Settings):
    """What one part did."""

    files: tuple[FileEntry, ...]
    """Output files, relative to the stage's folder."""
    report: Report
    """Counts."""
    extra: dict[str, Any]
    """Small results for the stage that joins the parts."""


def part_stem(index: int, piece: int | None = None) -> str:
    """What the names of a part's files begin with, or of one of its pieces'."""
    return f"part-{index:05d}" if piece is None else f"part-{index:05d}-{piece:05d}"


class PartWriter:
    """Collects one part's output. Everything takes its place when the part is complete, the marker last."""

    def __init__(self, folder: Path, phase: str, index: int, *, piece: int | None = None, durable: bool = True) -> None:
        self.folder, self.phase, self.stem, self._durable = folder, phase, part_stem(index, piece), durable
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.extra: dict[str, Any] = {}
        self._exit = ExitStack()
        self._writers: dict[str, tuple[Path, Any, int]] = {}
        self._files: list[tuple[Path, int]] = []
        self._known: dict[Path, str] = {}  # hashes of files, where `work` has them

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *exc: Any) -> None:
        self._exit.__exit__(*exc)

    def path(self, suffix: str, rows: int) -> Path:
        """A temporary path for an output file of another kind; it becomes `<phase>/part-00007<suffix>`."""
        final = self.folder / self.phase / f"{self.stem}{suffix}"
        temporary = self._exit.enter_context(atomic.replacing(final, durable=self._durable))
        self._files.append((final, rows))
        return temporary

    def add_file(self, path: Path, rows: int, sha256: str = "") -> None:
        """Take in a file below the stage's folder that `work` wrote itself, whole (formats.atomic)."""
        self._files.append((path, rows))
        if sha256:
            self._known[path] = sha256

    def write(self, batch: Any, *, name: str = "") -> None:
        """Append a pa.RecordBatch or Table (any schema, the same at every call) to the part's Parquet file.

        `name` writes to a second file, `part-00007.<name>.parquet`.
        """
        suffix = f".{name}.parquet" if name else ".parquet"
        if suffix not in self._writers:
            final = self.folder / self.phase / f"{self.stem}{suffix}"
            temporary = self._exit.enter_context(atomic.replacing(final, durable=self._durable))
            writer = self._exit.enter_context(_parquet(temporary, batch.schema))
            self._writers[suffix] = (final, writer, 0)
        final, writer, rows = self._writers[suffix]
        writer.write(batch)
        self._writers[suffix] = (final, writer, rows + len(batch))

    def decide(self, stage: str, documents: Any, **columns: Any) -> None:
        """Write ledger rows (see ledger.rows) and count what was kept and dropped, by reason."""
        batch = ledger.rows(stage, documents, **columns)
        self.write(batch, name="ledger")
        for decision, reason in zip(columns["decision"], columns["reason"]):
            if decision == ledger.DROPPED:
                self.dropped[reason] += 1
            else:
                self.kept += 1

    def close(self) -> PartReport:
        """Finish the files; return the report that goes into the marker."""
        self._exit.close()
        paths = [(path, rows) for path, _, rows in self._writers.values()] + self._files
        return PartReport(
            files=tuple(manifest.entry(self.folder, path, rows, self._known.get(path)) for path, rows in sorted(paths)),
            report=Report(
                kept=self.kept,
                dropped=dict(sorted(self.dropped.items())),
                counts=dict(sorted(self.counts.items())),
                bytes_in=self.bytes_in,
                bytes_out=self.bytes_out,
            ),
            extra=self.extra,
        )


def _parquet(path: Path, schema: Any) -> Any:
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
