"""The tokenizer stage's counting: train documents -> pretokens and how often each counts, bounded and weighted."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.errors import ConfigError
from fasttrain.formats.document import iter_documents
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.stage import Stage
from fasttrain.text import columns
from fasttrain.tokenizer.bpe_train import WordCounter
from fasttrain.tokenizer.weighting import Cell

log = logging.getLogger("fasttrain.tokenizer")
_WORDS = pa.schema(
    [
        pa.field("word", pa.large_binary(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("cell", pa.int32(), nullable=False),  # which of the part's cells (source and language)
    ]
)
Multipliers = Callable[[Mapping[Cell, int]], Mapping[Cell, int]]


@dataclass(frozen=True)
class Counted:
    """What was counted."""

    words: list[WordCounter]
    """On the root: one, to be taken out, so that learning need not keep it in memory."""
    reports: list[PartReport]
    level: int
    """One document in 2^level was counted, so that the pretokens stay below their bound."""


def count_words(
    stage: Stage,
    parts: Sequence[Path],
    sample: Mapping[str, float],
    *,
    pattern: str,
    max_words: int,
    multipliers: Multipliers | None,
) -> Counted:
    """Count the pretokens of a sample of the documents: part by part on every rank, joined on the root.

    When they are more than `max_words`, all are counted again on half of the documents, and so on: which documents
    depends on their ids alone, so the result is the same for any number of ranks, threads and parts.
    Args:
        sample: the share of each source's documents.
        multipliers: from the bytes of each (source, language) to how often its words count. None: once.
    """
    level = 0
    while True:
        share = {source: s * 0.5**level for source, s in sample.items()}
        reports = _map(stage, parts, _Counting(share, pattern, max_words, is_split=multipliers is not None))
        if not sum(r.report.bytes_in for r in reports):
            raise ConfigError(f"tokenizer: max_words = {max_words} is less than one document holds; give more")
        if not any(r.extra["is_over"] for r in reports):
            times = None if multipliers is None else multipliers(_bytes(reports))
            joined: list[WordCounter] = []
            join = partial(_join, stage.folder, reports, times, pattern, max_words, joined)
            if not stage.on_root(join):
                break
        level += 1
    if level:
        log.warning("tokenizer: more than max_words = %d distinct pretokens; one document in %d was trained on",
                    max_words, 1 << level)  # fmt: skip
    return Counted(joined, reports, level)


def sampled(batch: Any, share: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    """(N,) bool. Whether each document is in the sample: its doc_id, a uniform hash, lies below its source's share."""
    ids = np.frombuffer(b"".join(batch.column("doc_id").to_pylist()), "<u8")[::2]
    limits = np.array([share[s] for s in batch.column("source").to_pylist()], np.float64)
    return np.asarray((ids >> np.uint64(11)) * 2.0**-53 < limits)


def _map(stage: Stage, parts: Sequence[Path], counting: "_Counting") -> list[PartReport]:
    return stage.map_parts("words", parts, counting, key=counting.key, output=False, label="tokenizer/count")


class _Counting:
    """One part: its words by cell."""

    def __init__(self, share: Mapping[str, float], pattern: str, max_words: int, *, is_split: bool) -> None:
        self._share, self._pattern, self._max_words, self._is_split = share, pattern, max_words, is_split

    def key(self, path: Path) -> list[Any]:
        """What the part depends on."""
        return [f"{path.parent.name}/{path.name}", self._share, self._pattern, self._max_words, self._is_split]

    def __call__(self, path: Path, writer: PartWriter) -> None:
        counters: dict[Cell, WordCounter] = {}
        sizes: dict[Cell, int] = {}
        writer.extra = {"is_over": False, "cells": []}
        for batch in iter_documents(path, ["doc_id", "text", "source", "language"], rows=1024):
            kept = batch.filter(pa.array(sampled(batch, self._share)))
            for cell, texts in self._by_cell(kept):
                column = columns.from_arrow(texts)
                counter = counters.setdefault(cell, WordCounter(self._pattern))
                counter.add(column, threads=threads_of_rank())
                sizes[cell] = sizes.get(cell, 0) + column.num_bytes
                writer.kept += len(column)
                writer.bytes_in += column.num_bytes
                if counter.exceeds(self._max_words):  # one alone: all are at least as many, however parts are cut
                    writer.extra["is_over"] = True
                    return
        writer.extra["cells"] = [[*cell, size] for cell, size in sorted(sizes.items())]
        for k, cell in enumerate(sorted(sizes)):
            words, counts = counters.pop(cell).words()
            array = pa.Array.from_buffers(
                pa.large_binary(), len(words), [None, pa.py_buffer(words.offsets), pa.py_buffer(words.data)]
            )
            cells = pa.array(np.full(len(words), k, np.int32))
            writer.write(pa.RecordBatch.from_arrays([array, pa.array(counts), cells], schema=_WORDS))

    def _by_cell(self, batch: Any) -> list[tuple[Cell, Any]]:
        if not self._is_split:
            return [(("", ""), batch.column("text"))]
        names = list(zip(batch.column("source").to_pylist(), batch.column("language").to_pylist()))
        cells: dict[Cell, list[int]] = {}
        for n, (source, language) in enumerate(names):
            cells.setdefault((source, language or "unknown"), []).append(n)
        return [(cell, batch.column("text").take(pa.array(rows))) for cell, rows in sorted(cells.items())]


def _bytes(reports: Sequence[PartReport]) -> dict[Cell, int]:
    sizes: dict[Cell, int] = {}
    for report in reports:
        for source, language, size in report.extra["cells"]:
            sizes[source, language] = sizes.get((source, language), 0) + size
    return sizes


def _join(
    folder: Path,
    reports: Sequence[PartReport],
    times: Mapping[Cell, int] | None,
    pattern: str,
    max_words: int,
    words: list[WordCounter],
) -> bool:
    """Put one counter of all parts into `words`; or give up and return whether there are too many."""
    counter = WordCounter(pattern)
    for report in reports:
        cells = np.array([1 if times is None else times[s, lang] for s, lang, _ in report.extra["cells"]], np.int64)
        for file in report.files:
            for batch in pq.read_table(folder / file.path).to_batches():
                column = columns.from_arrow(batch.column("word").cast(pa.large_string(), safe=False))
                counts = batch.column("count").to_numpy() * cells[batch.column("cell").to_numpy()]
                kept = np.flatnonzero(counts)
                if len(kept) < len(counts):
                    column = columns.from_texts([column[n] for n in kept.tolist()])
                counter.add_counted(column, np.ascontiguousarray(counts[kept]))
        if counter.exceeds(max_words):
            return True
    words.append(counter)
    return False
