"""Workload: anchors of the books of the demo lake (375 KB), 100 bytes, 301 neighbours. Rival: NumPy strides."""

import numpy as np

from fasttrain.dedup.winnow import winnow
from fasttrain.formats import package_path
from fasttrain.text import columns
from fasttrain.text.shingle_ref import NGRAM_BASE

OP = "winnow"
K, W = 100, 301
BOOKS = sorted(p for p in (package_path.DATA / "demo_lake/books").rglob("*") if p.is_file())
RAW = b"\n".join(p.read_bytes() for p in BOOKS)[:2_000_000]


def bench_winnow(benchmark, record, impl):
    texts = columns.from_texts([RAW[:20_000] if impl == "reference" else RAW])
    benchmark(winnow, texts, K, W, impl=impl)
    record("MB_per_s", texts.num_bytes / 1e6)


def bench_rival_numpy(benchmark, record):
    raw = RAW[:200_000]
    powers = np.array([pow(NGRAM_BASE, K - 1 - j, 2**64) for j in range(K)], np.uint64)

    def numpy_winnow():
        h = np.lib.stride_tricks.sliding_window_view(np.frombuffer(raw, np.uint8), K).astype(np.uint64) @ powers
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            h = (h ^ h >> np.uint64(33)) * np.uint64(multiplier)
        h ^= h >> np.uint64(33)
        windows = np.lib.stride_tricks.sliding_window_view(h, W)
        return np.unique(windows.argmin(axis=1) + np.arange(len(windows)))

    got = benchmark(numpy_winnow)
    np.testing.assert_array_equal(got, winnow(columns.from_texts([raw]), K, W)[2])
    record("MB_per_s", len(raw) / 1e6)
