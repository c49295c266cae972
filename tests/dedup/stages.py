"""Runs of the dedup stage over hand-made documents, and what came of them."""

import random

from dedup.documents import documents_of, finished, ledger_of
from fasttrain.comm.group import SoloGroup
from fasttrain.dedup import stage
from fasttrain.dedup.config import DedupConfig
from fasttrain.formats.stage import run_stage

WORDS = ["".join(chr(97 + i // 26**k % 26) for k in range(4)) for i in range(4000)]


def words(seed, length=200):
    return random.Random(seed).choices(WORDS, k=length)


def text(seed, length=200):
    return " ".join(words(seed, length))


def dedup(folder, rows, /, parts=1, name="out", base=None, **settings):
    """Deduplicate the rows, cut into parts, into `folder / name`; the manifest."""
    source = folder / f"in-{name}-{parts}"
    if not source.exists():
        finished(source, rows, parts)
    config = DedupConfig.load(settings)
    base = folder if base is None else base
    return run_stage(
        "dedup",
        folder=folder / name,
        config=config,
        inputs=[source],
        world=SoloGroup(),
        body=lambda s: stage.run(s, config, base),
        source_fingerprint=stage.source_fingerprint(config, base),
    )


def kept(folder):
    """Origins of the documents that stay."""
    return {d["origin"] for d in documents_of(folder)}


def dropped(folder):
    """Ledger rows of the documents that go, by origin."""
    return {r["origin"]: r for r in ledger_of(folder) if r["decision"] == "dropped"}


def corpus(originals=120):
    """(rows) in which one of four documents has a copy and one of five a near copy."""
    rows = []
    for i in range(originals):
        base = words(i)
        rows.append((f"s{i % 3}", f"o{i}", " ".join(base)))
        if i % 4 == 0:
            rows.append(("s1", f"x{i}", " ".join(base)))
        if i % 5 == 0:
            rows.append(("s2", f"n{i}", " ".join(["new", *base[:150], "zz", *base[150:]])))
    random.Random(5).shuffle(rows)
    return rows
