"""What clustering (deciding who stays, from the verified pairs) holds: a buffer that `memory_records` sets, and at most
16 bytes for each document."""

import gc
import tracemalloc

from dedup.stages import dedup, dropped, text
from fasttrain.dedup import stage

PHASES = ("resolve", "settle")
FEW, MANY, PART, RECORDS = 2000, 8000, 500, 1024


def corpus(count):
    """In every eight documents two copies of one, and one of the same text but for a word before it."""
    rows = []
    for i in range(count):
        base = text(i if i % 8 in (0, 2, 3, 5, 6) else i - i % 8, 30)
        rows.append(("s", f"o{i}", f"new {base}" if i % 8 == 4 else base))
    return rows


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
        for name in PHASES:
            patch.setattr(stage._Work, name, measuring(name, getattr(stage._Work, name), found))
        tracemalloc.start()
        try:
            dedup(folder, corpus(count), parts=count // PART, name=f"out{count}", memory_records=RECORDS)
        finally:
            tracemalloc.stop()
    return found


def test_a_document_costs_at_most_16_bytes(tmp_path, monkeypatch):
    few, many = peaks(tmp_path, FEW, monkeypatch), peaks(tmp_path, MANY, monkeypatch)
    assert len(dropped(tmp_path / f"out{MANY}")) == MANY * 3 // 8
    growth = {name: (many[name] - few[name]) / (MANY - FEW) for name in PHASES}
    assert max(growth.values()) <= 16, growth
