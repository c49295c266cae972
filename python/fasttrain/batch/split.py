"""The probe set: texts held out of training for good, chosen by a keyed hash of the document's identity.

A document is held out when mix(doc_id, seed) / 2^64 < probe_fraction: a pure function of the document, so that the set
does not change with parts, ranks or the rest of the lake (only a source's limit in bytes looks at its other documents).
A source of few documents gives the end of each longer one instead, cut at a paragraph: every source is measured.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from fasttrain.batch.permute import make_key, mix64
from fasttrain.batch.tail import cut_at, probe_sum, tail_bytes, tail_documents, tail_id
from fasttrain.core.config import Settings
from fasttrain.formats import document, ledger
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.stage import Stage, documents_bytes, evidence

CANDIDATES = pa.schema(
    [("doc_id", pa.binary(16)), ("source", pa.string()), ("bytes", pa.int64()), ("hash", pa.uint64())]
)


class SplitConfig(Settings):
    """What is held out of training."""

    probe_fraction: float = Field(default=0.02, gt=0.0, le=0.5)
    """Share of each source's documents (of few documents: of their text) that is held out."""
    min_documents: int = Field(default=100, ge=2)
    """A source with fewer documents gives the ends of its longer documents instead of whole ones."""
    max_probe_bytes: int = Field(default=1 << 20, ge=1 << 10)
    """At most so much text of a source is held out, in UTF-8 bytes."""
    seed: int = Field(default=0, ge=0)
    """Another seed, another probe set: scores of the two cannot be compared."""

    @property
    def hash_limit(self) -> int:
        """A document whose keyed hash lies below is held out."""
        return int(self.probe_fraction * 2**64)


@dataclass
class Plan:
    """What is held out of each source."""

    held: set[bytes] = field(default_factory=set)  # doc_ids that are held out whole
    scale: dict[str, float] = field(default_factory=dict)  # sources that give tails -> factor on each tail's size


def run(stage: Stage, config: SplitConfig) -> None:
    """Write phases `train` and `probe` (formats.document.SCHEMA) from the input's documents.

    `stage.extra` gets `probe_fingerprint` (of the held-out texts, whatever their order) and, for `train` and `probe`,
    documents and bytes by source.
    """
    parts = [(path, path.relative_to(stage.inputs[0][0]).as_posix()) for path in stage.input_parts()]
    scans = stage.map_parts(
        "scan", parts, lambda part, writer: _scan(part[0], writer, config), key=lambda part: part[1], output=False
    )
    candidates = [_read_candidates(stage.folder, scan) for scan in scans]
    plan = make_plan(config, [scan.extra["sources"] for scan in scans], candidates)
    train = stage.map_parts(
        "train", parts, lambda part, writer: _train(stage.name, part[0], writer, plan, config), key=lambda part: part[1]
    )
    needed = [
        any(c["doc_id"] in plan.held for c in rows) or any(s in plan.scale for s in scan.extra["sources"])
        for rows, scan in zip(candidates, scans)
    ]
    probe = stage.map_parts(
        "probe",
        [(path, name, has) for (path, name), has in zip(parts, needed)],
        lambda part, writer: _probe(stage.name, part[0], writer, plan, config) if part[2] else None,
        key=lambda part: part[1],
    )
    stage.extra["probe_fingerprint"] = f"{sum(int(p.extra.get('sum', '0'), 16) for p in probe) % 2**128:032x}"
    stage.extra["train"], stage.extra["probe"] = _totals(train), _totals(probe)


def keyed_hash(doc_ids: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """One uniform 64-bit number a document. doc_ids: (N, 2) uint64, the 16 bytes of each id."""
    return mix64(doc_ids[:, 0] ^ mix64(doc_ids[:, 1] ^ np.uint64(make_key("probe", seed))))


def make_plan(config: SplitConfig, sources: list[dict[str, Any]], candidates: list[list[dict[str, Any]]]) -> Plan:
    """What to hold out, from every part's counts and candidates."""
    plan = Plan()
    for source in sorted({s for part in sources for s in part}):
        of_parts = [part[source] for part in sources if source in part]
        num_documents = sum(p["documents"] for p in of_parts)
        tails = sum(p["tail_bytes"] for p in of_parts)
        # The document with the smallest hash stands in when the hash holds out none of a small source.
        rows = [c for part in candidates for c in part if c["source"] == source]
        drawn = [c for c in rows if c["hash"] < config.hash_limit] or _smallest(rows)
        whole = _within(drawn, config.max_probe_bytes) if num_documents >= config.min_documents else set()
        if not whole and tails:
            # A paragraph may make a tail up to twice as long as asked for: half the limit keeps the limit.
            plan.scale[source] = min(1.0, config.max_probe_bytes / 2 / tails)
        elif not whole and num_documents > 1:
            whole = _within(_smallest(rows), config.max_probe_bytes)
        plan.held |= whole
    return plan


def _smallest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda c: (c["hash"], c["doc_id"]))[:1]


def _within(rows: list[dict[str, Any]], limit: int) -> set[bytes]:
    """Ids of the rows that fit below the limit together, smallest hash first."""
    held, used = set(), 0
    for c in sorted(rows, key=lambda c: (c["hash"], c["doc_id"])):
        if used + c["bytes"] <= limit:
            held.add(c["doc_id"])
            used += c["bytes"]
    return held


def _scan(path: Path, writer: PartWriter, config: SplitConfig) -> None:
    """Write what may be held out (below the fraction, and each source's smallest hash); count every source."""
    counts: dict[str, Counter[str]] = {}
    rows: list[Any] = []
    smallest: dict[str, Any] = {}
    for batch in document.iter_documents(path, ["doc_id", "source", "text"]):
        ids = np.frombuffer(b"".join(batch.column("doc_id").to_pylist()), np.uint64).reshape(-1, 2)
        sizes = pc.binary_length(batch.column("text")).to_numpy(zero_copy_only=False).astype(np.int64)
        hashes = keyed_hash(ids, config.seed)
        table = pa.table([batch.column("doc_id"), batch.column("source"), sizes, hashes], schema=CANDIDATES)
        names = batch.column("source").dictionary_encode()
        numbers = names.indices.to_numpy(zero_copy_only=False)
        for number, source in enumerate(names.dictionary.to_pylist()):
            mine = np.flatnonzero(numbers == number)
            count = counts.setdefault(source, Counter())
            count["documents"] += len(mine)
            count["bytes"] += int(sizes[mine].sum())
            count["tail_bytes"] += int(tail_bytes(sizes[mine], config.probe_fraction).sum())
            first = table.slice(int(mine[np.argmin(hashes[mine])]), 1)
            if source not in smallest or first["hash"][0].as_py() < smallest[source]["hash"][0].as_py():
                smallest[source] = first
        rows.append(table.filter(hashes < np.uint64(config.hash_limit)))
    found = pa.concat_tables([CANDIDATES.empty_table(), *rows])
    for _, first in sorted(smallest.items()):
        if first["hash"][0].as_py() >= config.hash_limit:
            found = pa.concat_tables([found, first])
    writer.write(found)
    writer.extra["sources"] = {s: dict(c) for s, c in sorted(counts.items())}


def _read_candidates(folder: Path, scan: PartReport) -> list[dict[str, Any]]:
    return [row for f in scan.files for row in pq.read_table(folder / f.path).to_pylist()]


def _train(stage: str, path: Path, writer: PartWriter, plan: Plan, config: SplitConfig) -> None:
    """Write what is not held out; documents that lost their tail get a ledger row."""
    for batch in document.iter_documents(path):
        writer.bytes_in += documents_bytes(batch)
        batch = batch.filter(pc.invert(_is_held(batch, plan)))
        cuts = _cuts(batch, plan, config)
        if cuts:
            texts = batch.column("text").to_pylist()
            rows = sorted(cuts)
            origins = batch.column("origin").take(rows).to_pylist()
            sources = batch.column("source").take(rows).to_pylist()
            writer.decide(
                stage,
                batch.take(rows),
                decision=[ledger.EDITED] * len(rows),
                reason=["tail held out"] * len(rows),
                evidence=[evidence(probe=tail_id(s, o).hex()) for s, o in zip(sources, origins)],
            )
            heads = [t.encode()[: cuts[i]].decode() if i in cuts else t for i, t in enumerate(texts)]
            place = batch.schema.get_field_index("text")
            batch = batch.set_column(place, batch.schema.field(place), pa.array(heads, pa.large_string()))
        writer.kept += len(batch) - len(cuts)
        _count(writer, batch, "train")
        if len(batch):
            writer.write(batch)


def _probe(stage: str, path: Path, writer: PartWriter, plan: Plan, config: SplitConfig) -> None:
    """Write what is held out, each with a ledger row."""
    total = 0
    for batch in document.iter_documents(path):
        held = batch.filter(_is_held(batch, plan))
        rest = batch.filter(pc.invert(_is_held(batch, plan)))
        cuts = _cuts(rest, plan, config)
        from_whole = [
            evidence(cut_from=i.hex())
            for i in rest.column("doc_id").take(pa.array(sorted(cuts), pa.int64())).to_pylist()
        ]
        for out, notes in ((held, ["{}"] * len(held)), (tail_documents(rest, cuts), from_whole)):
            if not len(out):
                continue
            writer.write(out)
            writer.decide(stage, out, decision=[ledger.KEPT] * len(out), reason=["probe"] * len(out), evidence=notes)
            _count(writer, out, "probe")
            total += probe_sum(out)
    writer.extra["sum"] = f"{total % 2**128:032x}"


def _is_held(batch: Any, plan: Plan) -> Any:
    return pc.is_in(batch.column("doc_id"), value_set=pa.array(sorted(plan.held), pa.binary(16)))


def _cuts(batch: Any, plan: Plan, config: SplitConfig) -> dict[int, int]:
    """Row -> byte at which its tail begins, for the documents that give one."""
    cuts = {}
    of_few = pc.is_in(batch.column("source"), value_set=pa.array(sorted(plan.scale), pa.string()))
    for row in np.flatnonzero(of_few.to_numpy(zero_copy_only=False)).tolist():
        text = batch.column("text")[row].as_py().encode()
        wanted = int(tail_bytes(np.array([len(text)]), config.probe_fraction)[0])
        wanted = int(wanted * plan.scale[batch.column("source")[row].as_py()])
        if wanted and (cut := cut_at(text, wanted)) < len(text):
            cuts[row] = cut
    return cuts


def _count(writer: PartWriter, batch: Any, phase: str) -> None:
    """Documents and bytes by source, for the stage's summary."""
    writer.counts[f"{phase}_documents"] += len(batch)
    writer.bytes_out += documents_bytes(batch)
    table = pa.table({"source": batch.column("source"), "bytes": pc.binary_length(batch.column("text"))})
    by_source = writer.extra.setdefault("by_source", {})
    for row in table.group_by("source").aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist():
        sums = by_source.setdefault(row["source"], {"documents": 0, "bytes": 0})
        sums["documents"] += row["bytes_count"]
        sums["bytes"] += row["bytes_sum"]


def _totals(reports: list[PartReport]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for report in reports:
        for source, sums in report.extra.get("by_source", {}).items():
            into = totals.setdefault(source, {"documents": 0, "bytes": 0})
            for name in into:
                into[name] += sums[name]
    return dict(sorted(totals.items()))
