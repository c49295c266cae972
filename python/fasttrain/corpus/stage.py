"""The corpus stage: from a lake's files to documents, part by part."""

from pathlib import Path
from typing import Any

from fasttrain.core.errors import FormatError
from fasttrain.corpus import documents, jsonl, lake, parquet, warc
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.html import Extractor
from fasttrain.corpus.intake import STAGE, Intake
from fasttrain.formats import ledger
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import PartWriter, Stage, documents_bytes

PHASE = "documents"


def run(stage: Stage, config: CorpusConfig, base: Path) -> Report | None:
    """Body of the stage: read every source below `base` (the recipe's folder) into `documents/part-*.parquet`.

    Parts are a function of the lake and the settings, not of ranks. Bad records never stop it: they are ledger rows
    with decision dropped and reason `quarantine:<kind>`. `stage.extra["sources"]` gives licences and bytes by source.
    Raises: ConfigError: a source has no files.
    """
    parts: list[lake.Part] = stage.on_root(lambda: lake.plan(config, base))
    reports = stage.map_parts(
        PHASE,
        parts,
        lambda part, writer: read_part(part, config, writer),
        key=lambda part: [config.sources[part.source].to_dict(), [file.key for file in part.files]],
        weight=lambda part: sum(file.weight for file in part.files),
        label="corpus",
    )
    stage.extra["sources"] = _by_source([report.extra for report in reports])
    return None


def source_fingerprint(config: CorpusConfig, base: Path) -> Any:
    """Plain data that stands for the lake's content: each file's name, size and time (package files: SHA-256).

    Raises: ConfigError: a source has no files.
    """
    listed = [lake.files(source, base, f"corpus.sources.{i}") for i, source in enumerate(config.sources)]
    return [[source.name, [file.key for file in found]] for source, found in zip(config.sources, listed)]


def read_part(part: lake.Part, config: CorpusConfig, writer: PartWriter) -> None:
    """Read the part's files into `writer`, in order."""
    source = config.sources[part.source]
    licences: dict[str, int] = {}

    def emit(batch: Any) -> None:
        n, num_bytes = len(batch), documents_bytes(batch)
        writer.write(batch)
        writer.decide(STAGE, batch, decision=[ledger.KEPT] * n, reason=[""] * n)
        writer.bytes_in += num_bytes
        writer.bytes_out += num_bytes
        for count in batch.column("licence").value_counts().to_pylist():
            licences[count["values"]] = licences.get(count["values"], 0) + count["counts"]

    def reject(rows: Any) -> None:
        writer.write(rows, name="ledger")
        writer.dropped.update(rows.column("reason").to_pylist())

    intake = Intake(source, config, emit, reject)
    with Extractor(config.extraction_timeout_s, config.max_invalid_fraction) as extractor:
        for file in part.files:
            read_file(file, intake, extractor)
    intake.flush()
    writer.counts.update({name: count for name, count in intake.counts.items() if count})
    writer.extra = {
        "source": source.name,
        "files": len(part.files),
        "documents": writer.kept,
        "bytes": writer.bytes_out,
        "quarantined": intake.counts["quarantined"],
        "licences": dict(sorted(licences.items())),
    }


def read_file(file: lake.LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand every record of one file to `intake`, by the file's kind."""
    match file.kind:
        case "warc":
            warc.read(file, intake, extractor)
        case "jsonl":
            jsonl.read(file, intake)
        case "parquet":
            parquet.read(file, intake)
        case "text":
            documents.read_text(file, intake, extractor)
        case "code":
            documents.read_code(file, intake)
        case other:
            raise FormatError(f"corpus: {file.name}: no reader for kind {other!r}")


def _by_source(extras: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for extra in extras:
        sums = total.setdefault(
            extra["source"], {"files": 0, "documents": 0, "bytes": 0, "quarantined": 0, "licences": {}}
        )
        for key in ("files", "documents", "bytes", "quarantined"):
            sums[key] += extra[key]
        for licence, count in extra["licences"].items():
            sums["licences"][licence] = sums["licences"].get(licence, 0) + count
    return total
