"""Workload: JSONL of Python sources in texts of about 2.5 kB and of 400 bytes, plain and .zst, read into documents.

Rival: the reader line by line, which every other line still goes through. Documents are compared before anything is
timed.
"""

import itertools
import json
import sysconfig
from pathlib import Path

import pytest
import zstandard

from fasttrain.corpus import jsonl, text_alone
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile

CONFIG = CorpusConfig.load({"sources": [{"name": "s", "path": "."}]})
TOTAL = 16_000_000


@pytest.fixture(scope="module", params=[(2500, ""), (2500, ".zst"), (400, "")], ids=["2.5kB", "2.5kB.zst", "400B"])
def lines(request, tmp_path_factory):
    """(file, bytes of text) of a workload."""
    size, suffix = request.param
    sources = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    whole = "".join(itertools.islice((p.read_text(errors="ignore") for p in sources), 1500))[:TOTAL]
    texts = [whole[k : k + size].strip() or "empty" for k in range(0, len(whole), size)]
    data = "".join(json.dumps({"text": t, "n": n}, ensure_ascii=False) + "\n" for n, t in enumerate(texts)).encode()
    path = tmp_path_factory.mktemp("jsonl") / f"a.jsonl{suffix}"
    path.write_bytes(zstandard.compress(data) if suffix else data)
    return LakeFile(path, path.name, "jsonl", path.stat().st_size, ""), sum(len(t.encode()) for t in texts)


def documents(file):
    batches = []
    intake = Intake(CONFIG.sources[0], CONFIG, batches.append, batches.append)
    jsonl.read(file, intake)
    intake.flush()
    return batches


def line_by_line(file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_alone, "suits", lambda source: False)
        return documents(file)


@pytest.mark.rival("itself, line by line")
def bench_jsonl(gate, note, benchmark, lines):
    file, size = lines
    ours, theirs = documents(file), line_by_line(file)
    assert all(a.equals(b) for a, b in zip(ours, theirs, strict=True))
    gate(lambda: line_by_line(file), lambda: documents(file), at_least=1.0)
    if benchmark.enabled:
        note("MB_per_s", size / 1e6 / benchmark.stats["median"])
