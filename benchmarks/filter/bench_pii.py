"""Workload: 2,000 pages of 4 KB of prose with a few numbers. Rival: Python's `re`, five kinds in one pass."""

import random
import re

from fasttrain.filter import pii
from fasttrain.text import columns

OP = "pii"
_DRAWS = random.Random(20261123)
_WORDS = ["the", "whale", "sea", "of", "harpoon", "1851", "chapter", "(see", "+", "a.b@c.org", "8.8.8.88", "ship,"]
_WEIGHTS = [20, 5, 5, 20, 3, 1, 3, 0.3, 0.1, 0.1, 0.1, 5]
TEXTS = [" ".join(_DRAWS.choices(_WORDS, _WEIGHTS, k=800)) for _ in range(2000)]
COLUMN = columns.from_texts(TEXTS)
RIVAL = re.compile(
    r"[\w.+%-]{1,64}@[\w.-]+\.[A-Za-z]{2,24}|\b(?:\d{1,3}\.){3}\d{1,3}\b|\+[1-9][\d .()/-]{6,20}\d|"
    r"\b(?:\d[ -]?){13,19}\b|\b[A-Z]{2}\d\d[A-Z0-9]{11,30}\b"
)


def bench_pii(benchmark, record, impl):
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: 51 if impl == "reference" else None])
    found = benchmark(pii.find, column, threads=1, impl=impl)
    assert len(found.begins) > 0
    record("MB_per_s", column.num_bytes / 1e6)


def bench_rival_re(benchmark, record):
    found = benchmark(lambda: sum(1 for text in TEXTS for _ in RIVAL.finditer(text)))
    assert found == len(pii.find(COLUMN).begins)  # the same findings on this text, before times are compared
    record("MB_per_s", COLUMN.num_bytes / 1e6)
