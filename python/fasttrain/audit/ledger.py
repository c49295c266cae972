"""A run folder as SQL: views over the ledger and document files of every prepare stage, read by DuckDB in place.

documents   one row a document and stage: what each stage handed on. stage, phase, doc_id (hex), text_hash (hex),
            text, bytes, source, origin, licence, language, timestamp, meta.
            `stage = 'corpus'` holds everything that was read.
ledger      one row a document and decision: stage, doc_id (hex), source, origin, decision, reason, score, bytes,
            evidence
decisions   the ledger joined with what is known of the document: licence, language, text_hash

Nothing is copied or indexed; memory stays bounded by DuckDB's limit, whatever the corpus's size.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import document, manifest
from fasttrain.formats import ledger as ledger_format
from fasttrain.formats.run_folder import RunFolder

log = logging.getLogger("fasttrain.audit")

STAGES = ("corpus", "filter", "dedup", "passages", "decontam", "split")
"""Stages that hand on documents, in the order of the flow."""

_PART = re.compile(r"part-\d+(-\d+)?\.parquet")
_LEDGER_PART = re.compile(r"part-\d+(-\d+)?\.ledger\.parquet")


@dataclass(frozen=True)
class Rows:
    """A query's answer as plain data."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary a row."""
        return [dict(zip(self.columns, row)) for row in self.rows]


class Ledger:
    """A connection to one run folder's documents and decisions. Close it, or use it as a context manager."""

    def __init__(self, run: RunFolder, *, threads: int = 2, memory: str = "2GB") -> None:
        if not run.root.is_dir():
            raise FormatError(f"audit: {run.root}: no such run folder; give one that `fasttrain run` or `prepare` made")
        self.run = run
        self._db: Any = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": memory})
        self._create_views()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._db.close()

    def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int | None = None) -> Rows:
        """Run one statement and return its rows (at most `limit`). Raises ConfigError with DuckDB's message."""
        try:
            cursor = self._db.execute(sql, list(parameters))
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
            return Rows(tuple(column[0] for column in cursor.description or ()), rows)
        except duckdb.Error as error:
            raise ConfigError(f"audit: the query failed: {error}; views: documents, ledger, decisions") from None

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table a view of this connection."""
        self._db.register(name, table)

    def stages(self) -> list[str]:
        """Stages of which this folder holds documents, in the order of the flow."""
        return [name for name in STAGES if document_files(self.run, name)]

    def _create_views(self) -> None:
        parts = [(s, p, f) for s in STAGES for p, f in document_files(self.run, s).items()]
        selects = [
            f"SELECT {_text(stage)} AS stage, {_text(phase)} AS phase, lower(hex(doc_id)) AS doc_id, "
            "lower(hex(text_hash)) AS text_hash, text, strlen(text) AS bytes, source, origin, licence, "
            f"language, timestamp, meta, doc_id AS doc_key FROM read_parquet({_list(files)})"
            for stage, phase, files in parts
        ]
        empty = document.SCHEMA.empty_table()
        self._db.register("no_documents", empty)
        selects.append(
            "SELECT '' AS stage, '' AS phase, '' AS doc_id, '' AS text_hash, text, 0::BIGINT AS bytes, source, origin, "
            "licence, language, timestamp, meta, doc_id AS doc_key FROM no_documents"
        )
        self._db.execute(f"CREATE VIEW documents AS {' UNION ALL '.join(selects)}")
        self._db.register("no_ledger", ledger_format.SCHEMA.empty_table())
        columns = "stage, lower(hex(doc_id)) AS doc_id, source, origin, decision, reason, score, bytes, evidence"
        sources = ["no_ledger", *(f"read_parquet({_list(f)})" for f in ledger_files(self.run).values())]
        self._db.execute(
            "CREATE VIEW ledger AS "
            + " UNION ALL ".join(f"SELECT {columns}, doc_id AS doc_key FROM {s}" for s in sources)
        )
        first = next(iter(self.stages()), "corpus")
        self._db.execute(
            "CREATE VIEW decisions AS SELECT l.* EXCLUDE (doc_key), d.licence, d.language, d.text_hash FROM ledger l "
            f"LEFT JOIN (SELECT doc_key, licence, language, text_hash FROM documents WHERE stage = {_text(first)}) d "
            "ON l.doc_key = d.doc_key"
        )


def sql(run: RunFolder, query: str, *, limit: int = 1000) -> Rows:
    """Answer one SQL query over the views `documents`, `ledger` and `decisions`; at most `limit` rows.

    Raises: ConfigError: DuckDB refuses the query. FormatError: no such run folder.
    """
    with Ledger(run) as ledger:
        return ledger.query(query, limit=limit)


def document_files(run: RunFolder, stage: str) -> dict[str, list[Path]]:
    """Document files of a stage by phase; those of its manifest when it is finished, else what is there."""
    return {
        phase: files
        for phase, files in _files(run.stage(stage), _PART).items()
        if pq.read_schema(files[0]).remove_metadata() == document.SCHEMA.remove_metadata()
    }


def ledger_files(run: RunFolder) -> dict[str, list[Path]]:
    """Ledger files of every stage, by stage."""
    stages = sorted(p for p in run.root.glob("prepare/*") if p.is_dir())
    found = {p.name: [f for files in _files(p, _LEDGER_PART).values() for f in files] for p in stages}
    return {stage: files for stage, files in found.items() if files}


def _files(folder: Path, pattern: re.Pattern[str]) -> dict[str, list[Path]]:
    paths = sorted(folder.glob("*/part-*.parquet"))
    if (folder / manifest.NAME).exists():
        try:
            paths = [folder / f.path for f in manifest.read(folder).files]
        except (FormatError, ConfigError) as error:
            log.warning("%s; taking every part that is there", error)
    by_phase: dict[str, list[Path]] = {}
    for path in paths:
        if pattern.fullmatch(path.name) and path.is_file():
            by_phase.setdefault(path.parent.name, []).append(path)
    return by_phase


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(files: Sequence[Path]) -> str:
    return "[" + ", ".join(_text(str(f)) for f in files) + "]"
