"""Workload: the 496 pages of python3.11-doc of the fetched lake (FASTTRAIN_LAKE); the reST behind each is gold.

F1 counts words of the extracted text against words of the source (roles like :func:`x` unwrapped), averaged over pages;
`better` and `worse` count the pages on which ours is ahead of trafilatura 2.3.1 with its defaults, and behind it.
"""

import io
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from fastwarc.warc import ArchiveIterator

from fasttrain.corpus import html_text

LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))
pytestmark = pytest.mark.skipif(not (LAKE / "python-docs/gold").is_dir(), reason="FASTTRAIN_LAKE names no fetched lake")
WORD = re.compile(r"\w+")


@pytest.fixture(scope="module")
def pages():
    """(page, gold text) of every page."""
    with zstandard.open(LAKE / "python-docs/gold/python-docs.jsonl.zst", "rb") as raw:
        rows = [json.loads(line) for line in io.TextIOWrapper(raw, encoding="utf-8")]
    gold = {row["url"]: re.sub(r":[\w:]+:`([^`]*)`", r"\1", row["text"]) for row in rows}
    with (LAKE / "python-docs/python-docs.warc.gz").open("rb") as stream:
        found = [(r.headers["WARC-Target-URI"], r.reader.read()) for r in ArchiveIterator(stream) if r.http_headers]
    return [(page, gold[url]) for url, page in found]


def ours(page):
    return html_text.text_of(page, "", 0.01)["text"].decode()


def word_f1(got, gold):
    a, b = Counter(WORD.findall(got.lower())), Counter(WORD.findall(gold.lower()))
    return 2 * (a & b).total() / (a.total() + b.total())


def scores(extract, pages):
    return [word_f1(extract(page), gold) for page, gold in pages]


def bench_rival_trafilatura(benchmark, note, record, pages):
    trafilatura = pytest.importorskip("trafilatura")

    def theirs(page):
        return trafilatura.extract(page) or ""

    mine, rivals = scores(ours, pages), scores(theirs, pages)
    note("pages", len(pages))
    assert sum(mine) >= sum(rivals)
    note("F1_ours", sum(mine) / len(mine))
    note("F1_rival", sum(rivals) / len(rivals))
    note("better", sum(a > b for a, b in zip(mine, rivals)))
    note("worse", sum(a < b for a, b in zip(mine, rivals)))
    benchmark.pedantic(lambda: [theirs(page) for page, _ in pages], rounds=1)
    record("MB_per_s", sum(len(page) for page, _ in pages) / 1e6)


def bench_fasttrain(benchmark, record, pages):
    mine = scores(ours, pages)
    assert sum(mine) / len(mine) > 0.91
    benchmark.pedantic(lambda: [ours(page) for page, _ in pages], rounds=3)
    record("MB_per_s", sum(len(page) for page, _ in pages) / 1e6)
