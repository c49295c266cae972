"""The decontamination stage: documents that hold benchmark items are dropped or flagged, with what was found.

Two passes, because whether an n-gram is boilerplate depends on the whole corpus:
  matches    each part: which documents hold which n-grams of which items
  documents  each part: n-grams that too many documents hold no longer count; decide, write, tell the ledger
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from fasttrain.decontam.benchmarks import Benchmarks, DecontamConfig, load
from fasttrain.decontam.find import Match, find
from fasttrain.formats import ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import PartReport, PartWriter, Stage, documents_bytes, evidence
from fasttrain.text import columns

# Items named in the manifest for each benchmark; all are in the ledger.
_MAX_NAMED = 200


def run(stage: Stage, config: DecontamConfig, base: Path) -> Report | None:
    """Body of the stage. `stage.extra["benchmarks"]` is the report for each benchmark.

    Raises: ConfigError: a benchmark file is missing or lacks a field.
    """
    benchmarks = load(config, base)
    parts = stage.input_parts()
    scans = stage.map_parts("matches", parts, lambda p, w: _scan(p, w, benchmarks), key=_name, output=False)
    spread = _spread(scans)
    boilerplate = frozenset(gram for gram, count in spread.items() if count > config.max_documents)
    items = list(zip(parts, scans))
    reports = stage.map_parts(
        "documents",
        items,
        lambda item, writer: _decide(item[0], item[1], writer, config, benchmarks, boilerplate),
        key=lambda item: [_name(item[0]), sorted(boilerplate)],
    )
    stage.extra["benchmarks"] = _report(config, benchmarks, boilerplate, reports)
    return None


def _name(path: Path) -> str:
    return path.name


def _gram(match: Match, k: int) -> str:
    """Names an n-gram of an item in plain data."""
    return f"{match.item}:{k}"


def _scan(path: Path, writer: PartWriter, benchmarks: Benchmarks) -> None:
    """Write `extra["documents"]`: row in the part -> matches, for the few documents that have any."""
    documents: dict[str, list[list[Any]]] = {}
    row = 0
    for batch in iter_documents(path, ["text"]):
        for k, matches in find(columns.from_arrow(batch.column("text")), benchmarks).items():
            documents[str(row + k)] = [[m.item, list(m.first), m.n] for m in matches]
        row += len(batch)
    writer.extra["documents"] = documents


def _matches(scan: PartReport) -> dict[int, list[Match]]:
    found = scan.extra["documents"].items()
    return {int(row): [Match(item, tuple(first), n) for item, first, n in matches] for row, matches in found}


def _spread(scans: list[PartReport]) -> Counter[str]:
    """Number of documents that hold each n-gram."""
    spread: Counter[str] = Counter()
    for scan in scans:
        for matches in _matches(scan).values():
            spread.update({_gram(m, k) for m in matches for k in m.first})
    return spread


def _decide(
    path: Path,
    scan: PartReport,
    writer: PartWriter,
    config: DecontamConfig,
    benchmarks: Benchmarks,
    boilerplate: frozenset[str],
) -> None:
    found = _matches(scan)
    dirty: dict[str, Counter[str]] = {}  # benchmark -> item -> documents that hold it
    holders: Counter[str] = Counter()  # benchmark -> documents that hold any of its items
    row = 0
    for batch in iter_documents(path):
        decision, reason = [ledger.KEPT] * len(batch), [""] * len(batch)
        score: list[float | None] = [None] * len(batch)
        cells = ["{}"] * len(batch)
        for k in range(len(batch)) if found else ():
            matches = [m for m in (_without(m, boilerplate) for m in found.get(row + k, [])) if m is not None]
            matches = [m for m in matches if len(m.first) >= min(config.min_ngrams, _count(m, benchmarks))]
            if not matches:
                continue
            worst = max(matches, key=lambda m: (m.share(benchmarks), len(m.first), -m.item))
            item = benchmarks.items[worst.item]
            decision[k] = ledger.DROPPED if config.action == "drop" else ledger.KEPT
            reason[k], score[k] = f"benchmark:{item.benchmark}", worst.share(benchmarks)
            cells[k] = evidence(
                benchmark=item.benchmark,
                item=item.name,
                field=item.field,
                ngrams=len(worst.first),
                span=worst.span(benchmarks)[:500],
                others=sorted({"/".join(benchmarks.items[m.item].key) for m in matches} - {"/".join(item.key)})[:20],
            )
            holders.update({benchmarks.items[m.item].benchmark for m in matches})
            for benchmark, name in {benchmarks.items[m.item].key for m in matches}:
                dirty.setdefault(benchmark, Counter())[name] += 1
        writer.decide("decontam", batch, decision=decision, reason=reason, score=score, evidence=cells)
        clean = batch.filter(pa.array([d != ledger.DROPPED for d in decision], pa.bool_()))
        writer.write(clean)
        writer.bytes_in += documents_bytes(batch)
        writer.bytes_out += documents_bytes(clean)
        row += len(batch)
    writer.extra["documents"] = dict(sorted(holders.items()))
    writer.extra["dirty"] = {name: dict(sorted(counts.items())) for name, counts in sorted(dirty.items())}


def _count(match: Match, benchmarks: Benchmarks) -> int:
    return len(benchmarks.items[match.item].words) - match.n + 1


def _without(match: Match, boilerplate: frozenset[str]) -> Match | None:
    left = tuple(k for k in match.first if _gram(match, k) not in boilerplate)
    return Match(match.item, left, match.n) if left else None


def _report(
    config: DecontamConfig, benchmarks: Benchmarks, boilerplate: frozenset[str], reports: list[PartReport]
) -> dict[str, Any]:
    """For each benchmark: items, those found, documents that held them, and what was left out of the search."""
    out: dict[str, Any] = {}
    owner = {str(i): item.benchmark for i, item in enumerate(benchmarks.items)}
    for benchmark in config.benchmarks:
        hits: Counter[str] = Counter()
        for part in reports:
            hits.update(part.extra["dirty"].get(benchmark.name, {}))
        names = {item.name for item in benchmarks.items if item.benchmark == benchmark.name}
        out[benchmark.name] = {
            "items": len(names),
            "dirty_items": len(hits),
            "clean_items": len(names) - len(hits),
            "documents": sum(part.extra["documents"].get(benchmark.name, 0) for part in reports),
            "too_short_fields": benchmarks.too_short[benchmark.name],
            "silent_fields": benchmarks.silent[benchmark.name],
            "template_ngrams": benchmarks.templates[benchmark.name],
            "boilerplate_ngrams": sum(1 for gram in boilerplate if owner[gram.split(":")[0]] == benchmark.name),
            "action": config.action,
            "dirty": dict(hits.most_common(_MAX_NAMED)),
        }
    return out
