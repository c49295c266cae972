"""The filter stage: documents -> those worth reading, edited where rules remove lines or mask personal data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.errors import ConfigError
from fasttrain.filter import histograms, samples, urls
from fasttrain.filter.config import ORDER, FilterConfig
from fasttrain.filter.docket import Docket
from fasttrain.filter.families import edits, open_families
from fasttrain.filter.family import Documents, Family, Mask
from fasttrain.filter.text_stats import stats_and_edits
from fasttrain.formats import atomic
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage, documents_bytes
from fasttrain.text import columns

STAGE = "filter"
PHASE = "documents"
_ROWS = 1024


def run(stage: Stage, config: FilterConfig, base: Path | None = None) -> Report | None:
    """Body of the stage (by part): the first input's documents, those that stay go to `documents/part-*.parquet`.

    `base` is the folder that list files are relative to. Every document gets a ledger row: the first broken rule in the
    order of the settings is its reason, all of them are its evidence. `stage.extra` gets `histograms` (what each rule
    compared, by source, with its threshold) and `samples` (the documents nearest to each threshold, on both sides).
    Raises: ConfigError: a list file cannot be read.
    """
    base = base or Path()
    read = source_fingerprint(config, base)
    families = open_families(config, base)
    reports = stage.map_parts(
        PHASE,
        stage.input_parts(),
        lambda path, writer: filter_part(path, config, families, writer),
        key=lambda path: [path.parent.name, path.name, stage.hash_of(path), read],
        weight=lambda path: path.stat().st_size,
        label="filter",
    )
    stage.extra["histograms"] = histograms.merge([r.extra["histograms"] for r in reports])
    stage.extra["samples"] = samples.merge([r.extra["samples"] for r in reports], config.samples_per_reason)
    return None


def source_fingerprint(config: FilterConfig, base: Path | None = None) -> Any:
    """Plain data that stands for the list files (name and SHA-256); None when the settings name no files.

    Raises: ConfigError: a file cannot be read.
    """
    found = []
    for key, name in config.files():
        path = (base or Path()) / name
        try:
            found.append([name, atomic.sha256(path)])
        except OSError as error:
            raise ConfigError(f"{key}: {path} must be a readable file, got {error}; correct the path") from None
    return found or None


def filter_part(path: Path, config: FilterConfig, families: Mapping[str, Family], writer: PartWriter) -> None:
    """Filter one part of the input into `writer`."""
    counts: histograms.Histograms = {}
    near = samples.Samples(config.samples_per_reason)
    for batch in iter_documents(path, rows=_ROWS):
        filter_batch(batch, config, families, writer, counts, near)
    writer.extra["histograms"] = counts
    writer.extra["samples"] = near.to_dict()


def filter_batch(
    batch: Any,
    config: FilterConfig,
    families: Mapping[str, Family],
    writer: PartWriter,
    counts: histograms.Histograms,
    near: samples.Samples,
) -> None:
    """Judge, edit and write one batch of documents."""
    n, threads = len(batch), threads_of_rank()
    texts = urls.strings(batch.column("text"))
    encoded = batch.column("source").dictionary_encode()
    sources, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    of_source = [config.families(s) for s in sources]
    asked: dict[str, Mask] = {name: np.array([name in f for f in of_source], np.bool_)[code] for name in ORDER}
    edit = edits(config, asked, n)
    asked["lines"] = edit > 0
    stats, edited = stats_and_edits(
        columns.from_arrow(texts), edit, c4=config.c4.line_rules(), refinedweb=config.refinedweb.line_rules(),
        short_line_chars=config.fineweb.short_line_chars, threads=threads,
    )  # fmt: skip
    docket = Docket(n)
    standing = np.ones(n, np.bool_)
    documents = Documents(batch, texts, batch.column("language").to_pylist(), stats, edit, edited, standing, threads)
    for name, family in families.items():
        if asked[name].any():
            docket.record(family.judge(documents, asked[name]), documents, asked[name])
    docket.decide(STAGE, batch, writer)
    _write(batch, documents, docket, writer)
    histograms.count(docket, sources, code, counts)
    near.add(docket, batch)


def _write(batch: Any, documents: Documents, docket: Docket, writer: PartWriter) -> None:
    """Write what stays."""
    writer.bytes_in += documents_bytes(batch)
    changed = {
        "text": documents.texts,
        "language": pa.array(documents.languages, pa.string()),
        "meta": docket.meta(batch),
    }
    arrays = [changed.get(field.name, batch.column(field.name)) for field in batch.schema]
    out = pa.RecordBatch.from_arrays(arrays, schema=batch.schema).filter(pa.array(~docket.dropped))
    if len(out):
        writer.write(out)
        writer.bytes_out += documents_bytes(out)
