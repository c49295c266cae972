"""What the stage holds in each phase: buffers that `memory_records` sets, and at most 16 bytes for each document.

The buffers are the same at both sizes, so the growth between them is what documents cost. The reports of parts and
partitions are in it too (some 5 KB each, here one for 2048 or 4096 documents), so the true cost of a document is less.
"""

import gc
import sys
import tracemalloc
from collections import Counter
from concurrent.futures import Future

import pytest

from dedup.stages import dedup, dropped, text
from fasttrain.dedup import stage
from fasttrain.formats import behind

PHASES = ("write_rows", "rank", "find_exact", "find_near", "resolve", "settle")
FEW, MANY, PART, RECORDS = 8192, 24576, 4096, 2048


def corpus(count):
    """In every eight documents two copies of one, and three of the same text as another but for a word before it."""
    rows = []
    for i in range(count):
        kind = i % 8
        base = text(i if kind in (0, 2, 4) else i - kind if kind > 5 else i - 1, 30)
        rows.append(("s", f"o{i}", f"new {base}" if kind in (1, 3, 5) else base))
    return rows


class Inline:
    """In place of the thread that ends parts: whether two parts meet at a peak must not be left to chance."""

    def __init__(self, max_workers):
        assert max_workers == 1

    def shutdown(self):
        pass

    def submit(self, work):
        done = Future()
        done.set_result(work())
        return done


def measuring(name, phase, found):
    """The phase, which notes the bytes that it has held at most beyond what was there when it began."""

    def measured(work):
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        phase(work)
        found[name] = tracemalloc.get_traced_memory()[1] - before

    return measured


def peaks(folder, count, monkeypatch):
    """What the phases hold, by name."""
    found = {}
    with monkeypatch.context() as patch:
        patch.setattr(behind, "ThreadPoolExecutor", Inline)
        for name in PHASES:
            patch.setattr(stage._Work, name, measuring(name, getattr(stage._Work, name), found))
        rows = corpus(count)
        tracemalloc.start()
        try:
            m = dedup(folder, rows, parts=count // PART, name=f"out{count}", memory_records=RECORDS, bands=2, rows=6)
        finally:
            tracemalloc.stop()
    return found, m


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    """Bytes a document, by phase."""
    folder = tmp_path_factory.mktemp("memory")
    patch = pytest.MonkeyPatch()
    dedup(folder, corpus(64), name="warm")  # what the interpreter imports on first use
    interned = [sys.intern(f"name {i}") for i in range(100_000)]  # its table of names shall not grow in between
    (few, first), (many, second) = peaks(folder, FEW, patch), peaks(folder, MANY, patch)
    assert min(m.extra["pairs"]["verified"] for m in (first, second)) > RECORDS  # so that the clustering goes in rounds
    reasons = Counter(row["reason"] for row in dropped(folder / f"out{MANY}").values())
    assert reasons["exact"] == MANY // 4
    proposed, copies = 1 - (1 - (26 / 27) ** 6) ** 2, MANY * 3 // 8  # 26 of 27 shingles are shared; 2 bands of 6 rows
    assert reasons["near"] >= copies * proposed - 4 * (copies * proposed * (1 - proposed)) ** 0.5
    del interned
    return {name: (many[name] - few[name]) / (MANY - FEW) for name in PHASES}


@pytest.mark.parametrize("phase", PHASES)
def test_a_document_costs_at_most_16_bytes(growth, phase):
    assert growth[phase] <= 16, growth
