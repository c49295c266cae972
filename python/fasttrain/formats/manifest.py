"""A stage's manifest: what it read, how it was configured, which files it wrote. Written last: it means done."""

import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import Field

from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic

NAME = "manifest.json"
FORMAT = 1


class FileEntry(Settings):
    """One file of a stage's output."""

    path: str
    """Relative to the manifest's folder, with forward slashes."""
    rows: int
    """Documents, or items of the file's kind."""
    bytes: int
    """Size on disk."""
    sha256: str
    """Of the whole file, in hex."""


class Report(Settings):
    """What a stage did, in counts."""

    kept: int = 0
    """Documents that went on."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Documents that did not, by reason."""
    bytes_in: int = 0
    """UTF-8 bytes of text read."""
    bytes_out: int = 0
    """UTF-8 bytes of text written."""
    seconds: float = 0.0
    """Wall time of the run that finished the stage; not part of any fingerprint."""
    counts: dict[str, int] = Field(default_factory=dict)
    """What else the stage counts (quarantined records, edits, pairs), by name."""

    def __add__(self, other: "Report") -> "Report":
        """Both together; `seconds` are wall time, and stay out."""
        return Report(
            kept=self.kept + other.kept,
            dropped=dict(Counter(self.dropped) + Counter(other.dropped)),
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
            counts=dict(Counter(self.counts) + Counter(other.counts)),
        )


class Manifest(Settings):
    """The record of a finished stage."""

    stage: str
    """The stage's name."""
    format: int = FORMAT
    """Version of this file's layout."""
    config: dict[str, Any]
    """The stage's settings."""
    config_fingerprint: str
    """Of `config`."""
    input_fingerprint: str
    """Of the manifests (or source files) that it read."""
    revision_fingerprint: str = ""
    """Of what changes single parts (removal requests); the files show it, so the content's fingerprint needs it not."""
    files: tuple[FileEntry, ...]
    """Everything it wrote, in order."""
    report: Report
    """Counts."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Results too small for a file of their own."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Of fasttrain and Python; informative."""

    @property
    def content_fingerprint(self) -> str:
        """Of the content: equal inputs, settings and output bytes give equal fingerprints; times do not count."""
        files = [[f.path, f.rows, f.bytes, f.sha256] for f in self.files]
        return fingerprint([self.stage, self.format, self.config_fingerprint, self.input_fingerprint, files])

    def write(self, folder: Path) -> None:
        """Write it: from this moment on the stage is finished."""
        atomic.write_json(folder / NAME, self.to_dict())


def read(folder: Path) -> Manifest:
    """Read a finished stage's manifest. Raises FormatError when there is none or it is damaged."""
    path = folder / NAME
    if not path.exists():
        raise FormatError(f"{path}: no manifest, so this stage is not finished; run it first")
    return Manifest.load(atomic.read_json(path), where=str(path))


def missing_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files of the manifest that are absent or of another size (cheap: nothing is read)."""
    return [f.path for f in manifest.files if not _has_size(folder / f.path, f.bytes)]


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file and compare it with its hash. Raises FormatError naming the first that differs."""
    for file in manifest.files:
        path = folder / file.path
        if not path.exists() or atomic.sha256(path) != file.sha256:
            raise FormatError(f"{path}: differs from its manifest; remove {folder} and run the stage again")


def entry(folder: Path, path: Path, rows: int, sha256: str | None = None) -> FileEntry:
    """Describe a finished file of `folder`; it is read for its hash unless that is known."""
    return FileEntry(
        path=path.relative_to(folder).as_posix(),
        rows=rows,
        bytes=path.stat().st_size,
        sha256=sha256 or atomic.sha256(path),
    )


def input_fingerprint(inputs: Sequence[Manifest]) -> str:
    """Of the stages that a stage reads, in order."""
    return fingerprint([m.content_fingerprint for m in inputs])


def versions() -> dict[str, str]:
    """Versions to record."""
    try:
        own = version("fasttrain")
    except PackageNotFoundError:  # run from a source tree
        own = "0+source"
    return {"fasttrain": own, "python": platform.python_version()}


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
