"""Indexes: what later runs need of the documents that this one kept, to find their copies exactly.

An index is a folder with `index.json` (format, the settings that it depends on, the files with their hashes) and the
files of each part: rows (80 bytes a document), band keys (8 bytes a band), BLAKE2b-256 of the text, origins, and the
shingle sets (8 bytes for each distinct shingle: about as much as the text itself). It may be moved and copied.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exact import digests
from fasttrain.dedup.exchange import Ints, Scatter, save, spread
from fasttrain.dedup.exchange import columns as records_of
from fasttrain.dedup.rows import ROW, Part
from fasttrain.dedup.verify import write_sets
from fasttrain.formats import atomic
from fasttrain.formats.manifest import FileEntry
from fasttrain.formats.part import PartWriter

NAME = "index.json"
FORMAT = 1
DEPENDS_ON = ("ngram", "bands", "rows", "seed", "scope", "dump_key")


class IndexPart(Settings):
    """One part of an index."""

    rows: int
    """Documents."""
    sources: tuple[str, ...]
    """Names that the rows' numbers stand for."""
    scopes: dict[str, int]
    """Keys of the sources or dumps that copies were looked for in."""


class Index(Settings):
    """The manifest of an index."""

    format: int
    """Version of the layout."""
    fuzzy: bool
    """Whether it holds band keys and shingle sets."""
    settings: dict[str, Any]
    """Those that must be the same in a run that uses it."""
    parts: tuple[IndexPart, ...]
    """In order."""
    files: tuple[FileEntry, ...]
    """Of all parts, relative to the index."""


def write_part(part: Part, path: Path, gone: Ints, writer: PartWriter, config: DedupConfig) -> None:
    """Write the files of the documents of a part that stay. `gone`: the (ascending) rows that do not."""
    stays = np.ones(part.count, bool)
    stays[gone] = False
    rows = np.flatnonzero(stays)
    n = len(rows)
    with ExitStack() as stack:
        files = {
            s: stack.enter_context(writer.path(s, n).open("wb")) for s in (".rows", ".bands", ".origins", ".digests")
        }
        lengths = [np.zeros(1, np.int64)]
        names, offsets = part.map(".origins", np.uint8), part.map(".origins.npy", np.int64)
        for begin in range(0, n, 1 << 16):
            some = rows[begin : begin + (1 << 16)]
            part.rows[some].tofile(files[".rows"])
            if config.fuzzy:
                part.map(".bands", np.uint64, (-1, config.bands))[some].tofile(files[".bands"])
            for a, b in zip(offsets[some].tolist(), offsets[some + 1].tolist()):
                files[".origins"].write(names[a:b].tobytes())
            lengths.append(offsets[some + 1] - offsets[some])
        for _, digest in digests(path, rows):
            digest.tofile(files[".digests"])
    save(writer, ".origins.npy", np.cumsum(np.concatenate(lengths)))
    if config.fuzzy:
        save(writer, ".offsets.npy", write_sets(path, rows, config.ngram, writer.path(".sets", n)))
    writer.extra = {"rows": n}


def write_manifest(
    folder: Path,
    parts: Sequence[Part],
    scopes: Sequence[dict[str, int]],
    files: Sequence[FileEntry],
    config: DedupConfig,
) -> Path:
    """Write index.json for the parts whose files (of the stage's folder, above `folder`) are given; return its path."""
    prefix = f"{folder.name}/"
    own = tuple(f.model_copy(update={"path": f.path.removeprefix(prefix)}) for f in files)
    settings = config.to_dict()
    index = Index(
        format=FORMAT,
        fuzzy=config.fuzzy,
        settings={name: settings[name] for name in DEPENDS_ON},
        parts=tuple(
            IndexPart(rows=sum(f.rows for f in own if f.path == f"part-{i:05d}.rows"), sources=p.sources, scopes=s)
            for i, (p, s) in enumerate(zip(parts, scopes))
        ),
        files=own,
    )
    atomic.write_json(folder / NAME, index.to_dict())
    return folder / NAME


def folders(config: DedupConfig, base: Path) -> list[Path]:
    """The indexes of `config.against`. Raises ConfigError: a folder is none, or was made with other settings."""
    found = []
    for number, name in enumerate(config.against):
        where = f"dedup.against.{number}"
        path = base / name
        path = path if (path / NAME).is_file() else path / "index"
        if not (path / NAME).is_file():
            raise ConfigError(f"{where}: {base / name} holds no {NAME}; name a folder that dedup.index_out wrote")
        index = read(path)
        settings = config.to_dict()
        if other := [k for k in DEPENDS_ON if index.settings[k] != settings[k]]:
            raise ConfigError(f"{where}: {path} was made with {other[0]} = {index.settings[other[0]]!r}, this run has "
                              f"{settings[other[0]]!r}; an index of the same settings can be compared")  # fmt: skip
        if config.fuzzy and not index.fuzzy:
            raise ConfigError(f"{where}: {path} was made with fuzzy = false, so near copies cannot be compared")
        found.append(path)
    return found


def read(folder: Path) -> Index:
    """Read index.json. Raises FormatError: another format, or a file is missing or of another size."""
    index = Index.load(atomic.read_json(folder / NAME), where=str(folder / NAME))
    if index.format != FORMAT:
        raise FormatError(f"{folder / NAME}: must have format {FORMAT}, got {index.format}; make the index anew")
    for file in index.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.bytes:
            raise FormatError(f"{path}: missing or not of {file.bytes} bytes; copy the index whole, or make it anew")
    return index


def fingerprints(config: DedupConfig, base: Path) -> list[str]:
    """Stands for the indexes in the fingerprint of a stage; index.json holds the hashes of all files."""
    return [atomic.sha256(path / NAME) for path in folders(config, base)]


def parts(paths: Sequence[Path]) -> tuple[list[Part], list[dict[str, int]]]:
    """The parts of all indexes, in order, numbered from 0, and their scopes."""
    found: list[Part] = []
    scopes: list[dict[str, int]] = []
    first = 0
    for path in paths:
        for i, part in enumerate(read(path).parts):
            found.append(Part(path / f"part-{i:05d}", first, part.rows, part.sources, is_indexed=True))
            scopes.append(part.scopes)
            first += part.rows
    return found, scopes


def exact_keys(part: Part, writer: PartWriter, targets: int, config: DedupConfig) -> None:
    """Send the hashes of an indexed part to where equal ones meet, as make_rows does for a part of the input."""
    rows = part.map(".rows", ROW)
    with Scatter(writer, ".exact", 5, targets, config.memory_records) as out:
        for begin in range(0, part.count if config.exact else 0, 1 << 16):
            row = rows[begin : begin + (1 << 16)]
            number = np.arange(part.first + begin, part.first + begin + len(row))
            keys = records_of(row["hash"][:, 0], row["hash"][:, 1], row["bytes"], row["scope"], number)
            out.add(keys, spread(keys[:, 0], targets))
