"""The corpus stage: from a lake's files to documents, part by part."""

from pathlib import Path
from typing import Any

from fasttrain.corpus import lake
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.large_files import LargeFiles
from fasttrain.corpus.reading import by_source, read_part
from fasttrain.corpus.removals import Removals, touched
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import Stage

PHASE = "documents"


def run(stage: Stage, config: CorpusConfig, base: Path, removals: Removals | None = None) -> Report | None:
    """Body of the stage: read every source below `base` (the recipe's folder) into `documents/part-*.parquet`.

    Parts are a function of the lake and the settings, not of ranks. Bad records never stop it: they are ledger rows
    with decision dropped and reason `quarantine:<kind>`; what the policy keeps out, `policy:<verdict>:<licence>`.
    `stage.extra["sources"]` gives licences and bytes by source. What `removals` lists is a ledger row and no document,
    before the policy is asked; parts made before that it touches are made again.
    Raises: ConfigError: a source has no files.
    """
    listed = removals or Removals()
    parts: list[lake.Part] = stage.on_root(lambda: lake.plan(config, base))
    stage.on_root(lambda: _drop_touched(stage, listed))
    reports = stage.map_parts(
        PHASE,
        parts,
        lambda part, writer: read_part(part, config, writer, listed),
        key=lambda part: _key(part, config),
        weight=lambda part: sum(file.weight for file in part.files),
        cut=LargeFiles(config, stage.folder, listed).cut(),
        label="corpus",
    )
    stage.extra["sources"] = by_source([report.extra for report in reports])
    return None


def _key(part: lake.Part, config: CorpusConfig) -> list[Any]:
    key = [config.sources[part.source].to_dict(), [file.key for file in part.files]]
    return [*key, part.passed_over] if part.passed_over else key


def _drop_touched(stage: Stage, removals: Removals) -> None:
    made = stage.made(PHASE)
    in_pieces = {index for index, piece in made if piece is not None}
    for index, piece in made:
        if piece is None and index in in_pieces:
            continue  # only those of its pieces are made again that are touched
        if touched(stage.folder, stage.read_part(PHASE, index, piece), removals):
            stage.drop_part(PHASE, index, piece)
            stage.marker(PHASE, index).unlink(missing_ok=True)


def source_fingerprint(config: CorpusConfig, base: Path) -> Any:
    """Plain data that stands for the lake's content: each file's name, size and time (package files: SHA-256).

    Raises: ConfigError: a source has no files.
    """
    entries = []
    for i, source in enumerate(config.sources):
        found = lake.find(source, base, f"corpus.sources.{i}")
        entry: list[Any] = [source.name, [file.key for file in found.files]]
        entries.append([*entry, dict(sorted(found.passed_over.items()))] if found.passed_over else entry)
    return entries
