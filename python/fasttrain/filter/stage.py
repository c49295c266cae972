"""The filter stage: documents -> those worth reading, edited where rules remove lines or mask personal data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.errors import ConfigError
from fasttrain.filter import histograms, language, pii, rules, safety, urls
from fasttrain.filter.c4_lines import c4_lines
from fasttrain.filter.config import ORDER, FilterConfig
from fasttrain.filter.pii_ref import KINDS
from fasttrain.filter.text_stats import COLUMN, text_stats
from fasttrain.filter.urls import UrlLists
from fasttrain.formats import atomic, ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import PartWriter, Stage, documents_bytes, evidence
from fasttrain.text import columns

STAGE = "filter"
PHASE = "documents"
_ROWS = 1024
_SAMPLE_CHARS = 240
Mask = npt.NDArray[np.bool_]


def run(stage: Stage, config: FilterConfig, base: Path | None = None) -> Report | None:
    """Body of the stage: read the first input's documents, write those that stay to `documents/part-*.parquet`.

    `base` is the folder that list files are relative to. Every document gets a ledger row: the first broken rule in the
    order of the settings is its reason, all of them are its evidence. `stage.extra` gets `histograms` (statistics by
    source, over the input) and `samples` (beginnings of dropped documents by reason, personal data masked).
    Raises: ConfigError: a list file cannot be read.
    """
    base = base or Path()
    read = source_fingerprint(config, base)
    lists = UrlLists(config.url, base)
    reports = stage.map_parts(
        PHASE,
        stage.input_parts(),
        lambda path, writer: filter_part(path, config, lists, base, writer),
        key=lambda path: [path.parent.name, path.name, read],
        label="filter",
    )
    stage.extra["histograms"] = histograms.merge([r.extra["histograms"] for r in reports])
    samples: dict[str, list[Any]] = {}
    for report in reports:
        for reason, found in report.extra["samples"].items():
            kept = samples.setdefault(reason, [])
            kept += found[: config.samples_per_reason - len(kept)]
    stage.extra["samples"] = dict(sorted(samples.items()))
    return None


def source_fingerprint(config: FilterConfig, base: Path | None = None) -> Any:
    """Plain data that stands for the list files (name and SHA-256); None when the settings name no files.

    Raises: ConfigError: a file cannot be read.
    """
    found = []
    named = [(f"filter.url.domain_files.{i}", name) for i, name in enumerate(config.url.domain_files)]
    named += [(f"filter.url.url_files.{i}", name) for i, name in enumerate(config.url.url_files)]
    named += [(f"filter.safety.lists.{language}", name) for language, name in sorted(config.safety.lists.items())]
    for key, name in named:
        path = (base or Path()) / name
        try:
            found.append([name, atomic.sha256(path)])
        except OSError as error:
            raise ConfigError(f"{key}: {path} must be a readable text file, got {error}; correct the path") from None
    return found or None


def filter_part(path: Path, config: FilterConfig, lists: UrlLists, base: Path, writer: PartWriter) -> None:
    """Filter one part of the input into `writer`."""
    counts: histograms.Histograms = {}
    samples: dict[str, list[Any]] = {}
    for batch in iter_documents(path, rows=_ROWS):
        filter_batch(batch, config, lists, base, writer, counts, samples)
    writer.extra["histograms"] = counts
    writer.extra["samples"] = dict(sorted(samples.items()))


class _Docket:
    """What is known of each of N documents while the families are asked: broken rules, the first of them, its value."""

    def __init__(self, n: int) -> None:
        self.reason = [""] * n
        self.score: list[float | None] = [None] * n
        self.broken: list[list[str]] = [[] for _ in range(n)]
        self.dropped = np.zeros(n, np.bool_)

    def record(self, mode: rules.Mode, reasons: tuple[str, ...], values: npt.NDArray[np.float64], fails: Mask) -> None:
        """Add one family's broken rules: R reasons, (N, R) values and fails; looks at documents that break one."""
        for n, r in np.argwhere(fails).tolist():
            self.broken[n].append(reasons[r])
            if mode == "drop" and not self.dropped[n]:
                self.dropped[n] = True
                self.reason[n], self.score[n] = reasons[r], float(values[n, r])


def filter_batch(
    batch: Any,
    config: FilterConfig,
    lists: UrlLists,
    base: Path,
    writer: PartWriter,
    counts: histograms.Histograms,
    samples: dict[str, list[Any]],
) -> None:
    """Judge, edit and write one batch of documents."""
    n, threads = len(batch), threads_of_rank()
    texts = urls.strings(batch.column("text"))
    sources = batch.column("source").to_pylist()
    of_source = {s: config.families(s) for s in set(sources)}
    asked = {f: np.array([f in of_source[s] for s in sources], np.bool_) for f in ORDER}
    line_rules, short = config.c4.line_rules(), config.fineweb.short_line_chars
    stats = text_stats(columns.from_arrow(texts), c4=line_rules, short_line_chars=short, threads=threads)
    histograms.count(stats, sources, counts)
    docket = _Docket(n)

    if asked["url"].any():
        found = lists.reasons(urls.strings(batch.column("origin")))
        _record_named(docket, found, np.ones(n), asked["url"])
    names: list[str] = batch.column("language").to_pylist()
    if asked["language"].any():
        named, scores, found = language.name_languages(texts, names, config.language)
        names = [new if a else old for new, old, a in zip(named, names, asked["language"].tolist())]
        _record_named(docket, found, scores, asked["language"])

    families = config.rule_set()
    judged = dict(rules.judge_all(stats, families))
    for name in ("gopher_repetition", "gopher_quality", "c4"):
        _record(docket, getattr(families, name).mode, judged[name], asked[name])

    removed = np.zeros(n, np.int64)  # lines that C4 took
    if config.c4.edit and config.c4.mode == "drop":
        rows = np.flatnonzero(asked["c4"] & ~docket.dropped)
        if len(rows):
            edited = c4_lines(columns.from_arrow(texts.take(pa.array(rows))), rules=line_rules, threads=threads)
            after = stats.copy()
            after[rows] = text_stats(edited, c4=line_rules, short_line_chars=short, threads=threads)
            judged["fineweb"] = rules.judge("fineweb", config.fineweb.rules(after), n)
            removed[rows] = (stats[:, COLUMN["lines"]] - stats[:, COLUMN["c4_kept_lines"]])[rows]
            texts = _replace(texts, rows, columns.to_arrow(edited))
    _record(docket, config.fineweb.mode, judged["fineweb"], asked["fineweb"])
    if asked["safety"].any():
        words = stats[:, COLUMN["words"]]
        _, share, fails = safety.judge(texts, names, words, config.safety, base)
        docket.record(config.safety.mode, ("safety:words",), share[:, None], (fails & asked["safety"])[:, None])

    masked = np.zeros((n, len(KINDS)), np.int64)
    rows = np.flatnonzero(asked["pii"] & ~docket.dropped)
    if len(rows):
        result = pii.mask(columns.from_arrow(texts.take(pa.array(rows))), config.pii.kinds, threads=threads)
        masked[rows] = result.counts
        if result.counts.any():
            texts = _replace(texts, rows, columns.to_arrow(result.column))

    _write(batch, texts, names, docket, removed, masked, writer)
    _take_samples(batch, docket, config.samples_per_reason, samples)


def _record_named(docket: _Docket, found: list[str], values: npt.NDArray[np.float64], asked: Mask) -> None:
    """Record reasons that come as one name a document."""
    for reason in sorted({*found} - {""}):
        fails = np.array([f == reason for f in found], np.bool_) & asked
        docket.record("drop", (reason,), values[:, None], fails[:, None])


def _record(docket: _Docket, mode: rules.Mode, verdict: rules.Verdict, asked: Mask) -> None:
    docket.record(mode, verdict.reasons, verdict.values, verdict.fails & asked[:, None])


def _replace(texts: Any, rows: npt.NDArray[np.int64], new: Any) -> Any:
    """`texts` with those of `rows` taken from `new`."""
    index = np.arange(len(texts))
    index[rows] = len(texts) + np.arange(len(rows))
    return pa.concat_arrays([texts, new]).take(pa.array(index))


def _write(
    batch: Any,
    texts: Any,
    names: list[str],
    docket: _Docket,
    removed: npt.NDArray[np.int64],
    masked: npt.NDArray[np.int64],
    writer: PartWriter,
) -> None:
    """Write what stays, and a ledger row for every document."""
    n = len(batch)
    changed = ~np.asarray(pc.equal(texts, urls.strings(batch.column("text"))).to_numpy(zero_copy_only=False), np.bool_)
    decision, notes = [ledger.KEPT] * n, ["{}"] * n
    broken = np.array([bool(b) for b in docket.broken], np.bool_)
    for i in np.flatnonzero(changed | broken).tolist():
        note: dict[str, Any] = {"broken": docket.broken[i]} if docket.broken[i] else {}
        if docket.dropped[i]:
            decision[i] = ledger.DROPPED
            writer.counts.update({f"broken:{reason}": 1 for reason in docket.broken[i]})
        elif changed[i]:
            decision[i] = ledger.EDITED
            kinds = {kind: int(k) for kind, k in zip(KINDS, masked[i]) if k}
            reasons = [*(["c4:lines"] if removed[i] or not kinds else []), *(["pii:masked"] if kinds else [])]
            docket.reason[i] = "+".join(reasons)
            note |= {"masked": kinds} if kinds else {}
            note |= {"lines_removed": int(removed[i])} if removed[i] else {}
            writer.counts.update({f"masked:{kind}": k for kind, k in kinds.items()})
            writer.counts.update({f"edited:{reason}": 1 for reason in reasons})
        if docket.broken[i] and not docket.dropped[i]:
            writer.counts.update({f"tagged:{reason}": 1 for reason in docket.broken[i]})
        notes[i] = evidence(**note)
    writer.decide(STAGE, batch, decision=decision, reason=docket.reason, score=docket.score, evidence=notes)
    writer.bytes_in += documents_bytes(batch)
    out = batch.set_column(batch.schema.get_field_index("text"), batch.schema.field("text"), texts)
    named = pa.array(names, pa.string())
    out = out.set_column(batch.schema.get_field_index("language"), batch.schema.field("language"), named)
    out = out.filter(pa.array(~docket.dropped))
    if len(out):
        writer.write(out)
        writer.bytes_out += documents_bytes(out)


def _take_samples(batch: Any, docket: _Docket, limit: int, samples: dict[str, list[Any]]) -> None:
    """Keep the beginning of the first dropped documents of each reason; of lists' victims only the origin."""
    for i in _wanted(docket, limit, samples):
        reason = docket.reason[i]
        text = ""
        if not reason.startswith(("url:", "safety:")):
            head = columns.from_texts([batch.column("text")[i].as_py()[: 4 * _SAMPLE_CHARS]])
            text = pii.mask(head, threads=1).column[0].decode()[:_SAMPLE_CHARS]
        source, origin = batch.column("source")[i].as_py(), batch.column("origin")[i].as_py()
        found = {"source": source, "origin": origin, "score": docket.score[i], "text": text}
        samples.setdefault(reason, []).append(found)


def _wanted(docket: _Docket, limit: int, samples: dict[str, list[Any]]) -> Iterator[int]:
    for i in np.flatnonzero(docket.dropped).tolist():
        if len(samples.get(docket.reason[i], [])) < limit:
            yield i
