"""Documents of any sources for a command that measures: about so many bytes of each, without a run folder."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fasttrain.core.errors import ConfigError
from fasttrain.corpus import lake
from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.reading import read_file
from fasttrain.formats.stage import documents_bytes


class _Enough(Exception):
    """What was asked of a source has been read."""


def read_documents(
    sources: Sequence[SourceConfig],
    base: Path,
    emit: Callable[[Any], None],
    *,
    max_bytes: int | None = None,
    found: Sequence[Sequence[LakeFile]] | None = None,
) -> None:
    """Hand the documents of each entry to `emit`, in batches of the document schema.

    Args:
        base: the folder that relative paths start from.
        max_bytes: of text, about, of each entry. Its files come in the order of the hash of their names, so that they
            are from everywhere in it; of one file it is the beginning.
        found: `files` of each entry, when they have been looked for.
    Raises: ConfigError: an entry has no file, or no text in any of them; with what was wrong with the first record.
    """
    config = CorpusConfig(sources=tuple(sources))
    found = files_of(sources, base) if found is None else found
    for source, files in zip(config.sources, found, strict=True):
        _read_source(source, config, sorted(files, key=_hash) if max_bytes else files, emit, max_bytes)


def files_of(sources: Sequence[SourceConfig], base: Path) -> list[list[LakeFile]]:
    """The files of each entry, in the order of their names. Raises ConfigError: an entry has none."""
    return [lake.find(source, base, f"text.{number}").files for number, source in enumerate(sources)]


def _hash(file: LakeFile) -> bytes:
    return hashlib.blake2b(file.name.encode("utf-8", "surrogateescape")).digest()


def _read_source(
    source: SourceConfig,
    config: CorpusConfig,
    files: Sequence[LakeFile],
    emit: Callable[[Any], None],
    max_bytes: int | None,
) -> None:
    read = 0
    wrong: list[str] = []

    def take(batch: Any) -> None:
        nonlocal read
        emit(batch)
        read += documents_bytes(batch)
        if max_bytes is not None and read >= max_bytes:
            raise _Enough

    def reject(rows: Any) -> None:
        wrong.extend(f"{r['origin']}: {r['reason']}" for r in rows.slice(0, 1).to_pylist() if not wrong)

    intake = Intake(source, config, take, reject, max_batch_bytes=max_bytes)
    with suppress(_Enough), Extractor(config.extraction_timeout_s, config.max_invalid_fraction) as extractor:
        for file in files:
            read_file(file, intake, extractor)
        intake.flush()
    if not read:
        why = f" ({wrong[0]})" if wrong else ""
        raise ConfigError(f"{', '.join(source.paths)}: holds no text to read{why}; give files with text")
