"""The registry of benchmarks: which files hold which items, of which version, and which of their fields say what.

A recipe lists benchmarks itself (`[[decontam.benchmarks]]`), or names a TOML file of `[[benchmarks]]` tables that
several recipes share. A file is JSON Lines, CSV or TSV (plain, .gz or .zst) or Parquet. Everything that is wrong with
one is an error: an item that is silently left out would count as clean.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pydantic import Field

from fasttrain.core.config import Settings, parse_toml
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic, package_path

Role = Literal["question", "answer", "passage"]
Format = Literal["jsonl", "csv", "tsv", "parquet"]
_ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip


class BenchmarkConfig(Settings):
    """One benchmark: a file of items."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """How the ledger, the report and the subset files call it."""
    path: str = Field(min_length=1)
    """The file, relative to the recipe (or the registry); `package:benchmarks/...` ships with us."""
    fields: dict[str, Role] = Field(min_length=1)
    """What each field is: the question, an answer, or a passage that the question is about; `a.b` is b inside a."""
    id_field: str | None = None
    """Names an item, each another; its row number does otherwise."""
    version: str = ""
    """Which edition the file is; goes into the manifest beside the file's sha256."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """The file must have this hash, when given."""
    format: Format | None = None
    """What the file is, when its ending does not say."""


HUMANEVAL = BenchmarkConfig(
    name="HumanEval",
    path="package:benchmarks/HumanEval.jsonl.gz",
    fields={"prompt": "question", "canonical_solution": "answer"},
    id_field="task_id",
    version="2021-07",
)


class _File(Settings):
    benchmarks: tuple[BenchmarkConfig, ...]


@dataclass(frozen=True)
class Listed:
    """A benchmark whose file was found."""

    config: BenchmarkConfig
    file: Path
    where: str  # its table, for messages
    sha256: str


@dataclass(frozen=True)
class Row:
    """One item as its file has it."""

    number: int  # from 0
    name: str
    values: dict[str, Any]  # the whole row
    texts: dict[str, str]  # field -> text, of the fields that have a role


def find_files(benchmarks: tuple[BenchmarkConfig, ...], registry: str | None, base: Path) -> tuple[Listed, ...]:
    """Every benchmark of the recipe, then those of the registry. Raises ConfigError: a file is missing or another."""
    tables = [(f"decontam.benchmarks.{i}", benchmark, base) for i, benchmark in enumerate(benchmarks)]
    if registry is not None:
        path = package_path.resolve(registry, base)
        try:
            data = parse_toml(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"decontam.registry: {path} must be a readable TOML file, got {error}") from None
        more = _File.load(data, where=str(path)).benchmarks
        tables += [(f"{path}: benchmarks.{i}", benchmark, path.parent) for i, benchmark in enumerate(more)]
    names = [benchmark.name.casefold() for _, benchmark, _ in tables]  # they name files
    if len(set(names)) != len(names):
        raise ConfigError(f"decontam: benchmarks must have different names, got {names}")
    found = []
    for where, benchmark, folder in tables:
        path = package_path.resolve(benchmark.path, folder)
        if not path.is_file():
            raise ConfigError(f"{where}.path: {benchmark.name}: no such file: {path}; correct the path")
        digest = atomic.sha256(path)
        if benchmark.sha256 not in (None, digest):
            raise ConfigError(f"{where}.sha256: {path} must have {benchmark.sha256}, got {digest}: another edition")
        found.append(Listed(benchmark, path, where, digest))
    return tuple(found)


def rows(listed: Listed) -> Iterator[Row]:
    """Every item of a benchmark's file, one at a time.

    Raises: ConfigError: the file is damaged, of another kind, lacks a field, or two items have one name.
    """
    benchmark, seen = listed.config, set()
    for number, values in enumerate(_values(listed)):
        at = f"{listed.file}: item {number}"
        if benchmark.id_field is None:
            name = str(number)
        else:
            name = _text(_inside(values, benchmark.id_field, f"{listed.where}.id_field: {at}"))
            if name in seen:
                raise ConfigError(f"{listed.where}.id_field: {at} is named {name!r} as an earlier one is; leave it out")
            seen.add(name)
        texts = {f: _text(_inside(values, f, f"{listed.where}.fields: {at}")) for f in benchmark.fields}
        yield Row(number, name, values, texts)


def _inside(values: dict[str, Any], field: str, where: str) -> Any:
    if field in values:
        return values[field]
    value: Any = values
    for step in field.split("."):
        if not isinstance(value, dict) or step not in value:
            known = ", ".join(sorted(values))
            raise ConfigError(f"{where} has no field {field!r}; it has {known}")
        value = value[step]
    return value


def _text(value: Any) -> str:
    """Choices and several answers one after another."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "\n".join(_text(v) for v in value)
    if isinstance(value, dict):
        return "\n".join(_text(v) for v in value.values())
    return str(value)


def _values(listed: Listed) -> Iterator[dict[str, Any]]:
    path, kind = listed.file, listed.config.format or _kind(listed)
    try:
        if kind == "parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    yield from batch.to_pylist()
            return
        with path.open("rb") as raw, _plain(path, raw) as plain, io.TextIOWrapper(plain, "utf-8", newline="") as text:
            yield from _json_lines(text, listed) if kind == "jsonl" else _table(text, kind, listed)
    except (OSError, EOFError, zstandard.ZstdError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise ConfigError(f"{listed.where}.path: {path}: cannot be read as {kind}: {error}") from error


def _json_lines(text: IO[str], listed: Listed) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ConfigError(
                f"{listed.where}.path: {listed.file}: line {number + 1} is not a JSON object; give a JSON Lines file"
            )
        yield row


def _table(text: IO[str], kind: Format, listed: Listed) -> Iterator[dict[str, Any]]:
    """The first line names the columns."""
    reader = csv.reader(text, delimiter="\t" if kind == "tsv" else ",", strict=True)
    head = next(reader, [])
    for cells in reader:
        if cells and len(cells) != len(head):
            raise ConfigError(
                f"{listed.where}.path: {listed.file}: line {reader.line_num} must have {len(head)} cells as the first, "
                f"got {len(cells)}"
            )
        if cells:
            yield dict(zip(head, cells))


def _kind(listed: Listed) -> Format:
    suffixes = [s.lower() for s in listed.file.suffixes if s.lower() not in (".gz", ".zst")]
    if not suffixes or suffixes[-1] not in _ENDINGS:
        raise ConfigError(
            f"{listed.where}.format: {listed.file}: its ending must be one of {', '.join(_ENDINGS)} "
            "(.gz or .zst behind it), or give format"
        )
    return _ENDINGS[suffixes[-1]]


def _plain(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if path.suffix.lower() == ".zst":
        # A file may be many frames one after another (pzstd, appended dumps); without this only the first is read.
        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return raw
