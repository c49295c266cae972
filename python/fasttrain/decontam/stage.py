"""The decontamination stage: documents that hold benchmark items are dropped, cut or flagged, with what was found.

Two passes, because what an n-gram weighs depends on the whole corpus:
  matches    each part: its hits of the index, and how many of its documents hold which n-gram
  documents  each part: weigh, compare words, decide, write; the ledger gets the strongest match of a document, and
             part-00007.spans.parquet every one (SPANS)
Then, for each benchmark, subsets/<name>.clean.jsonl, .dirty.jsonl and .unsearched.jsonl hold the rows of its file as
they are, so that a score can be reported on each.
"""

import hashlib
import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fasttrain.decontam import registry
from fasttrain.decontam.benchmarks import Benchmarks, DecontamConfig, Floats, Ints, load, weigh
from fasttrain.decontam.find import Match, find
from fasttrain.decontam.ngram_overlap import ngram_overlap
from fasttrain.formats import atomic, ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.rewrite import Rewrite
from fasttrain.formats.stage import Stage, documents_bytes, evidence
from fasttrain.text import columns

CLEAN, DIRTY, UNSEARCHED = "clean", "dirty", "unsearched"
FLAGGED = "flagged"  # decision in SPANS; the ledger says tagged

SPANS = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # of the item in the benchmark's file
        pa.field("field", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),  # question, answer, passage
        pa.field("doc_id", pa.binary(16), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field(
            "decision", pa.string(), nullable=False
        ),  # dropped, cut, flagged; kept: a passage without its question
        pa.field("score", pa.float64(), nullable=False),  # share of the field's words, by weight
        pa.field("weight", pa.float64(), nullable=False),  # of the words that are shared
        pa.field("words", pa.int32(), nullable=False),  # of the field that the document holds
        pa.field("begin", pa.int64(), nullable=False),  # UTF-8 bytes of the text that the stage read
        pa.field("end", pa.int64(), nullable=False),
        pa.field("span", pa.string(), nullable=False),  # longest run of the field's words that the document holds
    ]
)
_HITS = pa.schema([("row", pa.int32()), ("word", pa.int32()), ("gram", pa.int32())])
_SPREAD = pa.schema([("gram", pa.int32()), ("documents", pa.int64())])
# Items named in the manifest for each benchmark, characters of a span, spans and other items of a ledger row.
_MAX_NAMED, _MAX_SPAN, _MAX_CUTS, _MAX_OTHERS = 200, 500, 8, 20


def run(stage: Stage, config: DecontamConfig, base: Path) -> Report | None:
    """Body of the stage (by part). `stage.extra["benchmarks"]` is the report for each benchmark.

    Raises: ConfigError: a benchmark file is missing, damaged or lacks a field.
    """
    benchmarks = load(config, base)
    parts = stage.input_parts()

    def key(path: Path) -> list[str]:
        return [path.name, stage.hash_of(path)]

    scans = stage.map_parts("matches", parts, lambda p, w: _scan(p, w, benchmarks), key=key, output=False)
    documents = stage.on_root(lambda: _spread(stage.folder, scans, len(benchmarks.weights)))
    weights = weigh(benchmarks, documents, config.max_documents)
    spread = hashlib.blake2b(documents.tobytes(), digest_size=16).hexdigest()
    reports = stage.map_parts(
        "documents",
        list(zip(parts, scans)),
        lambda item, writer: _decide(item[0], stage.folder, item[1], writer, config, benchmarks, weights),
        key=lambda item: [*key(item[0]), spread],
    )
    dirty = _dirty(reports)
    counts = stage.on_root(lambda: _write_subsets(stage.folder, benchmarks, dirty))
    for name, by_state in counts.items():
        for state, rows in by_state.items():
            stage.add_file(_subset(stage.folder, name, state), rows)
    stage.extra["benchmarks"] = _report(config, benchmarks, documents, reports, dirty, counts)
    return None


def _scan(path: Path, writer: PartWriter, benchmarks: Benchmarks) -> None:
    """Write the part's hits, and its number of documents that hold each n-gram."""
    documents = np.zeros(len(benchmarks.weights), np.int64)
    writer.write(_HITS.empty_table(), name="hits")
    done = 0
    for batch in iter_documents(path, ["text"]):
        hits = ngram_overlap(columns.from_arrow(batch.column("text")), benchmarks.index)
        row = np.repeat(np.arange(len(batch)), np.diff(hits.starts))
        once = np.unique(row * np.int64(len(documents)) + hits.grams) if len(row) else row
        documents += np.bincount(once % len(documents), minlength=len(documents)) if len(row) else 0
        arrays = (done + row, hits.words, hits.grams)
        writer.write(pa.table([a.astype(np.int32) for a in arrays], schema=_HITS), name="hits")
        done += len(batch)
    (held,) = np.nonzero(documents)
    writer.write(pa.table([held.astype(np.int32), documents[held]], schema=_SPREAD), name="spread")


def _file(folder: Path, part: PartReport, kind: str) -> Path:
    return next(folder / f.path for f in part.files if f.path.endswith(f".{kind}.parquet"))


def _spread(folder: Path, scans: list[PartReport], grams: int) -> Ints:
    """(K,) documents of the corpus that hold each n-gram."""
    total = np.zeros(grams, np.int64)
    for scan in scans:
        table = pq.read_table(_file(folder, scan, "spread"))
        total[table["gram"].to_numpy()] += table["documents"].to_numpy()
    return total


def _decide(
    path: Path,
    folder: Path,
    scan: PartReport,
    writer: PartWriter,
    config: DecontamConfig,
    benchmarks: Benchmarks,
    weights: Floats,
) -> None:
    hits = pq.read_table(_file(folder, scan, "hits"))
    row, word, gram = (hits[name].to_numpy().astype(np.int64) for name in _HITS.names)
    holders: Counter[str] = Counter()  # benchmark -> documents that hold any of its items
    dirty: dict[str, Counter[int]] = {}  # benchmark -> row of an item -> documents that hold it
    alone: Counter[str] = Counter()  # benchmark -> documents that hold a passage without its question
    writer.write(SPANS.empty_table(), name="spans")
    done = 0
    with Rewrite(path, writer) as out:
        for batch in out:
            n = len(batch)
            here = slice(*np.searchsorted(row, [done, done + n]))
            texts = columns.from_arrow(batch.column("text"))
            by_row: dict[int, list[Match]] = {}
            for match in find(texts, row[here] - done, word[here], gram[here], benchmarks, weights, config):
                by_row.setdefault(match.row, []).append(match)
            decision, reason, cells = [ledger.KEPT] * n, [""] * n, ["{}"] * n
            score: list[float | None] = [None] * n
            texts_out: dict[int, bytes] = {}
            flags: dict[int, list[str]] = {}
            spans: list[dict[str, Any]] = []
            for k, matches in by_row.items():
                counted = _counted(matches, benchmarks, config)
                kept_as = ledger.KEPT
                if counted:
                    text = texts[k]
                    cuts = _union([(m.begin, m.end) for m in counted]) if config.action == "cut" else []
                    decision[k], left = _act(config, text, cuts)
                    if decision[k] == ledger.EDITED:
                        texts_out[k] = left
                    kept_as = {ledger.EDITED: "cut", ledger.TAGGED: FLAGGED}.get(decision[k], decision[k])
                    worst = max(counted, key=lambda m: (m.share, m.weight, -m.field))
                    reason[k], score[k] = f"benchmark:{benchmarks.fields[worst.field].benchmark}", worst.share
                    names = sorted({_label(benchmarks, m) for m in counted})
                    cells[k] = _evidence(benchmarks, worst, names, cuts)
                    if config.action == "flag":
                        flags[k] = names
                    owners = {(f.benchmark, f.row) for f in (benchmarks.fields[m.field] for m in counted)}
                    holders.update({name for name, _ in owners})
                    for name, item in owners:
                        dirty.setdefault(name, Counter())[item] += 1
                chosen = set(counted)
                rest = [m for m in matches if m not in chosen]
                alone.update({benchmarks.fields[m.field].benchmark for m in rest})
                for m in matches:
                    spans.append(_span(benchmarks, m, batch, kept_as if m in chosen else ledger.KEPT))
            if spans:
                writer.write(pa.Table.from_pylist(spans, schema=SPANS), name="spans")
            writer.decide("decontam", batch, decision=decision, reason=reason, score=score, evidence=cells)
            clean = _edited(batch, texts_out, flags) if texts_out or flags else batch
            if ledger.DROPPED in decision:
                clean = clean.filter(pa.array([d != ledger.DROPPED for d in decision]))
            out.write(batch, clean)
            writer.bytes_in += documents_bytes(batch)
            writer.bytes_out += documents_bytes(clean)
            done += n
    writer.extra["documents"] = dict(sorted(holders.items()))
    writer.extra["passages_alone"] = dict(sorted(alone.items()))
    writer.extra["dirty"] = {name: [[r, c] for r, c in sorted(rows.items())] for name, rows in sorted(dirty.items())}


def _counted(matches: list[Match], benchmarks: Benchmarks, config: DecontamConfig) -> list[Match]:
    """Without the passages whose question or answer the document does not hold."""
    if config.passage_alone:
        return matches
    asked = {
        (f.benchmark, f.row) for f in (benchmarks.fields[m.field] for m in matches) if f.role in ("question", "answer")
    }
    return [m for m in matches if (benchmarks.fields[m.field].benchmark, benchmarks.fields[m.field].row) in asked]


def _act(config: DecontamConfig, text: bytes, cuts: list[tuple[int, int]]) -> tuple[str, bytes]:
    if config.action == "drop":
        return ledger.DROPPED, text
    if config.action == "flag":
        return ledger.TAGGED, text
    edges = [0, *(e for cut in cuts for e in cut), len(text)]
    left = b"".join(text[a:b] for a, b in zip(edges[::2], edges[1::2]))
    return (ledger.EDITED if len(left) >= config.least_left_bytes else ledger.DROPPED), left


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((begin, end))
    return out


def _label(benchmarks: Benchmarks, match: Match) -> str:
    field = benchmarks.fields[match.field]
    return f"{field.benchmark}/{field.item}"


def _evidence(benchmarks: Benchmarks, worst: Match, names: list[str], cuts: list[tuple[int, int]]) -> str:
    field = benchmarks.fields[worst.field]
    values: dict[str, Any] = {
        "benchmark": field.benchmark,
        "item": field.item,
        "field": field.name,
        "words": worst.words,
        "span": worst.span(benchmarks)[:_MAX_SPAN],
        "others": [name for name in names if name != _label(benchmarks, worst)][:_MAX_OTHERS],
    }
    if cuts:
        values |= {"spans": cuts[:_MAX_CUTS], "cuts": len(cuts), "bytes_removed": sum(b - a for a, b in cuts)}
    return evidence(**values)


def _span(benchmarks: Benchmarks, match: Match, batch: Any, decision: str) -> dict[str, Any]:
    field = benchmarks.fields[match.field]
    version = next(one.config.version for one in benchmarks.listed if one.config.name == field.benchmark)
    return {
        "benchmark": field.benchmark,
        "version": version,
        "item": field.item,
        "row": field.row,
        "field": field.name,
        "role": field.role,
        **{name: batch.column(name)[match.row].as_py() for name in ("doc_id", "source", "origin")},
        "decision": decision,
        "score": match.share,
        "weight": match.weight,
        "words": match.words,
        "begin": match.begin,
        "end": match.end,
        "span": match.span(benchmarks)[:_MAX_SPAN],
    }


def _edited(batch: Any, new: dict[int, bytes], flags: dict[int, list[str]]) -> Any:
    """The batch with those texts, and `meta.contamination` of those rows."""
    for name, values in (("text", {k: v.decode() for k, v in new.items()}), ("meta", _metas(batch, flags))):
        if values:
            mask = np.zeros(len(batch), bool)
            mask[list(values)] = True
            column = batch.column(name)
            replaced = pc.replace_with_mask(
                column, pa.array(mask), pa.array([values[k] for k in sorted(values)], column.type)
            )
            batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), replaced)
    return batch


def _metas(batch: Any, flags: dict[int, list[str]]) -> dict[int, str]:
    meta = batch.column("meta")
    return {
        k: json.dumps({**json.loads(meta[k].as_py()), "contamination": names}, ensure_ascii=False, sort_keys=True)
        for k, names in flags.items()
    }


def _dirty(reports: list[PartReport]) -> dict[str, Counter[int]]:
    """Benchmark -> row of an item -> documents that hold it."""
    out: dict[str, Counter[int]] = {}
    for part in reports:
        for name, rows in part.extra["dirty"].items():
            out.setdefault(name, Counter()).update(dict(rows))
    return out


def _subset(folder: Path, name: str, state: str) -> Path:
    return folder / "subsets" / f"{name}.{state}.jsonl"


def _write_subsets(folder: Path, benchmarks: Benchmarks, dirty: dict[str, Counter[int]]) -> dict[str, dict[str, int]]:
    """Write the rows of every benchmark by what is known of them; their numbers."""
    heard = {(f.benchmark, f.row) for f in benchmarks.fields if (f.grams >= 0).any()}
    counts: dict[str, dict[str, int]] = {}
    for one in benchmarks.listed:
        name = one.config.name
        found = dirty.get(name, Counter())
        count = counts[name] = dict.fromkeys((CLEAN, DIRTY, UNSEARCHED), 0)
        with ExitStack() as stack:
            files = {
                state: stack.enter_context(
                    stack.enter_context(atomic.replacing(_subset(folder, name, state))).open("w", encoding="utf-8")
                )
                for state in count
            }
            for row in registry.rows(one):
                state = DIRTY if row.number in found else CLEAN if (name, row.number) in heard else UNSEARCHED
                count[state] += 1
                files[state].write(json.dumps(row.values, ensure_ascii=False, default=str) + "\n")
    return counts


def _report(
    config: DecontamConfig,
    benchmarks: Benchmarks,
    documents: Ints,
    reports: list[PartReport],
    dirty: dict[str, Counter[int]],
    counts: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """For each benchmark: which edition, items, those found, documents that held them, what was not searched."""
    out: dict[str, Any] = {}
    names = {(f.benchmark, f.row): f.item for f in benchmarks.fields}
    for one in benchmarks.listed:
        name = one.config.name
        held = documents > config.max_documents
        common = {int(g) for f in benchmarks.fields if f.benchmark == name for g in f.grams if g >= 0 and held[g]}
        hits = dirty.get(name, Counter())
        out[name] = {
            "version": one.config.version,
            "sha256": one.sha256,
            "items": benchmarks.items[name],
            **{f"{state}_items": number for state, number in counts[name].items()},
            "documents": sum(part.extra["documents"].get(name, 0) for part in reports),
            "passages_alone": sum(part.extra["passages_alone"].get(name, 0) for part in reports),
            "too_short_fields": benchmarks.too_short[name],
            "silent_fields": benchmarks.silent[name],
            "template_ngrams": benchmarks.templates[name],
            "boilerplate_ngrams": len(common),
            "action": config.action,
            "dirty": {names[name, row]: c for row, c in sorted(hits.items(), key=lambda x: (-x[1], x[0]))[:_MAX_NAMED]},
        }
    return out
