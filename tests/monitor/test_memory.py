import mmap

import pytest
import torch

from fasttrain.monitor import memory
from fasttrain.monitor.memory import PeakMemory
from fasttrain.monitor.throughput import memory_bytes

CPU = torch.device("cpu")
SIZE = 200 << 20  # more than anything else here may give back or take meanwhile


def touch():
    """Hold SIZE bytes for a moment."""
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for place in range(0, SIZE, mmap.PAGESIZE):
            block[place] = 1


@pytest.mark.skipif(not memory._reset(), reason="the system forbids resetting the peak")
def test_what_was_held_between_two_looks_counts_and_what_was_before_does_not():
    touch()
    peak, before = PeakMemory(CPU), memory_bytes(CPU)
    assert peak.look() < before + SIZE / 2, "the earlier peak is forgotten"
    touch()
    assert memory_bytes(CPU) < before + SIZE / 2, "given back"
    assert peak.look() > before + SIZE * 0.9
    assert peak.look() > before + SIZE * 0.9, "it stays the most"


def test_where_the_peak_is_not_to_be_had_each_look_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    peak = PeakMemory(CPU)
    seen = iter([300, 500, 400])
    monkeypatch.setattr(memory, "memory_bytes", lambda device: next(seen))
    assert [peak.look() for _ in range(3)] == [300, 500, 500]
