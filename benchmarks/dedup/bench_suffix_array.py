"""Workload: suffix array of the books of the demo lake (375 KB). Rival: pydivsufsort 0.0.20 with its Kasai."""

import numpy as np
import pytest

from fasttrain.dedup.suffix_array import suffix_array
from fasttrain.formats import package_path

OP = "suffix_array"
BOOKS = sorted(p for p in (package_path.DATA / "demo_lake/books").rglob("*") if p.is_file())
TEXT = np.frombuffer(b"\n".join(p.read_bytes() for p in BOOKS)[:2_000_000], np.uint8)


def bench_suffix_array(benchmark, record, impl):
    text = TEXT[:2000] if impl == "reference" else TEXT
    benchmark(suffix_array, text, impl=impl)
    record("MB_per_s", len(text) / 1e6)


def bench_rival_pydivsufsort(benchmark, record):
    rival = pytest.importorskip("pydivsufsort")

    def both():
        sa = rival.divsufsort(TEXT.copy())
        return sa, rival.kasai(TEXT.copy(), sa)

    sa, lcp = benchmark(both)
    want, common = suffix_array(TEXT)
    np.testing.assert_array_equal(sa, want)
    np.testing.assert_array_equal(lcp[:-1], common[1:])  # theirs is with the suffix after
    record("MB_per_s", len(TEXT) / 1e6)
