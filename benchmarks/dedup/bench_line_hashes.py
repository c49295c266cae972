"""Workload: the lines of the books of the demo lake (375 KB). Rival: cc_net's normalisation and SHA-1 in Python."""

import hashlib
import re
import unicodedata

from fasttrain.dedup.line_hashes import line_hashes
from fasttrain.dedup.lines import line_spans
from fasttrain.formats import package_path
from fasttrain.text import columns

OP = "line_hashes"
BOOKS = sorted(p for p in (package_path.DATA / "demo_lake/books").rglob("*") if p.is_file())
RAW = b"\n".join(p.read_bytes() for p in BOOKS)[:2_000_000].decode("utf-8", "ignore")
TEXTS = columns.from_texts([RAW])
_, BEGINS, ENDS = line_spans(TEXTS)


def bench_line_hashes(benchmark, record, impl):
    benchmark(line_hashes, TEXTS.data, BEGINS, ENDS, threads=1, impl=impl)
    record("MB_per_s", TEXTS.num_bytes / 1e6)


def bench_rival_sha1(benchmark, record):
    lines = RAW.split("\n")
    digit, punct = re.compile(r"\d"), re.compile(r"[^\w\s]")

    def sha1(line):
        line = "".join(c for c in unicodedata.normalize("NFD", line.lower().strip()) if unicodedata.category(c) != "Mn")
        return hashlib.sha1(punct.sub("", digit.sub("0", line)).encode(), usedforsecurity=False).digest()[:8]

    got = benchmark(lambda: [sha1(line) for line in lines])
    assert len(got) == len(BEGINS)
    record("MB_per_s", TEXTS.num_bytes / 1e6)
