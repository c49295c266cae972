"""From the files of a part to documents and ledger rows, and what the datasheet counts of them."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.core.errors import FormatError
from fasttrain.core.log import log
from fasttrain.corpus import documents, extraction, jsonl, lake, mail, parquet, warc, wikidump
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import STAGE, Intake, Taken
from fasttrain.corpus.policy import PolicyConfig, decide
from fasttrain.corpus.removals import REASON, Removals
from fasttrain.formats import ledger
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import documents_bytes


def read_part(
    part: lake.Part, config: CorpusConfig, writer: PartWriter, removals: Removals, taken: Taken | None = None
) -> None:
    """Read the part's files into `writer`, in order. `taken`: see Intake."""
    source = config.sources[part.source]
    licences: dict[str, int] = {}

    held: Counter[str] = Counter()

    def emit(batch: Any) -> None:
        writer.bytes_in += documents_bytes(batch)
        reason, keep = judge(batch.column("licence"), source.name, config.policy)
        cells = ["{}"] * len(batch)
        for i in np.flatnonzero(removals.find(batch)).tolist():
            reason[i], keep[i] = REASON, False
            cells[i] = removals.evidence(batch.column("doc_id")[i].as_py(), batch.column("text_hash")[i].as_py())
        held.update(r for r in reason if r.startswith("policy:"))
        decision = [ledger.KEPT] * len(batch) if keep.all() else np.where(keep, ledger.KEPT, ledger.DROPPED).tolist()
        writer.decide(STAGE, batch, decision=decision, reason=reason, evidence=cells)
        batch = batch if keep.all() else batch.filter(pa.array(keep))
        if len(batch):
            writer.write(batch)
        writer.bytes_out += documents_bytes(batch)
        for count in batch.column("licence").value_counts().to_pylist():
            licences[count["values"]] = licences.get(count["values"], 0) + count["counts"]

    def reject(rows: Any) -> None:
        writer.write(rows, name="ledger")
        writer.dropped.update(rows.column("reason").to_pylist())

    intake = Intake(source, config, emit, reject, taken)
    for kind, count in part.passed_over:
        intake.counts[f"passed_over_{kind}"] += count
        extra = extraction.missing(kind) or kind
        log.warning("corpus: source %s: %d files passed over: %s needs %s", source.name, count, kind, extra)
    stated = config.policy.of_source(source.name)
    if stated is not None and stated.verdict == "deny":  # not even opened
        for file in part.files:
            intake.set_aside("policy:deny:source", file.name, max(file.size, 0), why=stated.reason, terms=stated.terms)
            held["policy:deny:source"] += 1
    else:
        with Extractor(config.extraction_timeout_s, config.max_invalid_fraction) as extractor:
            for file in part.files:
                read_file(file, intake, extractor)
    intake.flush()
    writer.counts.update({name: count for name, count in intake.counts.items() if count})
    writer.extra = {
        "source": source.name,
        "files": sum(file.piece is None or file.piece.number == 0 for file in part.files),
        "documents": writer.kept,
        "bytes": writer.bytes_out,
        "quarantined": intake.counts["quarantined"],
        "licences": dict(sorted(licences.items())),
        "policy": dict(sorted(held.items())),
    }


def judge(licence: Any, source: str, policy: PolicyConfig) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Reason ("" for none) and whether it stays, of each document of a source, by its licence (a pa.Array)."""
    coded = licence.dictionary_encode()
    reasons, stays = [], []
    for name in coded.dictionary.to_pylist():
        verdict = decide(name, source, policy).verdict
        reasons.append("" if verdict == "allow" else f"policy:{verdict}:{name or 'unknown'}")
        stays.append(verdict == "allow" or (verdict == "review" and policy.on_review == "keep"))
    codes = coded.indices.to_numpy(zero_copy_only=False)
    return [reasons[code] for code in codes.tolist()], np.array(stays, np.bool_)[codes]


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
        case "mail":
            mail.read(file, intake, extractor)
        case "pdf":
            documents.read_pdf(file, intake, extractor)
        case "wikitext":
            wikidump.read(file, intake, extractor)
        case other:
            raise FormatError(f"corpus: {file.name}: no reader for kind {other!r}")


def by_source(extras: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over parts, by source: `writer.extra` of read_part."""
    total: dict[str, Any] = {}
    for extra in extras:
        sums = total.setdefault(
            extra["source"], {"files": 0, "documents": 0, "bytes": 0, "quarantined": 0, "licences": {}, "policy": {}}
        )
        for key in ("files", "documents", "bytes", "quarantined"):
            sums[key] += extra[key]
        for table in ("licences", "policy"):
            for name, count in extra[table].items():
                sums[table][name] = sums[table].get(name, 0) + count
    return total
