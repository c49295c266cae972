"""Workload: text of the fetched lake (lake_mix.py), cl100k, one thread, CPU time. Rivals: gigatoken, fastokens.

`cold`: one pass over the mix of all kinds by a new encoder. `unseen`: the last 5 MB of a kind, when the encoder has
read what comes before. Every turn is a process of its own, ours and theirs in turn, so that neither finds a warm
allocator; ids are compared first. Needs FASTTRAIN_LAKE and FASTTRAIN_VOCAB, a folder with cl100k_base.tiktoken (not
shipped here).
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import lake_mix

VOCAB = Path(os.environ.get("FASTTRAIN_VOCAB", "")) / "cl100k_base.tiktoken"
MIX_BYTES, UNSEEN_BYTES, TURNS = 110_000_000, 5_000_000, 5
pytestmark = pytest.mark.skipif(
    not (lake_mix.is_here() and VOCAB.is_file()), reason="FASTTRAIN_LAKE names no lake, or FASTTRAIN_VOCAB no cl100k"
)


@pytest.mark.parametrize(
    ("workload", "rival", "at_least"),
    [
        ("mix", "gigatoken", 1.0),
        ("mix", "fastokens", 3.5),
        ("english", "gigatoken", 0.9),
        ("code", "gigatoken", 0.85),
        ("european", "gigatoken", 1.3),
        ("nonlatin", "gigatoken", 1.1),
    ],
)
def bench_gate_corpus_encode(benchmark, note, tmp_path, workload, rival, at_least):
    pytest.importorskip(rival)
    if rival == "fastokens":
        from fasttrain import Tokenizer

        Tokenizer.load(VOCAB, pattern="cl100k").save(tmp_path)
    told: dict[str, list[dict]] = {"fasttrain": [], rival: []}

    def turn(who):
        command = [sys.executable, __file__, who, workload, str(tmp_path / "tokenizer.json")]
        told[who].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))

    def both():
        turn(rival)
        turn("fasttrain")

    benchmark.pedantic(both, rounds=TURNS if benchmark.enabled else 1)
    assert {t["ids"] for t in told[rival]} == {t["ids"] for t in told["fasttrain"]}
    if not benchmark.enabled:
        return
    ours, theirs = (statistics.median(t["MB_per_s"] for t in told[who]) for who in ("fasttrain", rival))
    note("MB_per_s", ours)
    note("rival_MB_per_s", theirs)
    ratio = statistics.median(a["MB_per_s"] / b["MB_per_s"] for a, b in zip(told["fasttrain"], told[rival]))
    note("ratio", ratio)
    note("gate", at_least)
    assert ratio >= at_least, f"{workload}: {ratio:.2f}x {rival}, the gate is {at_least}x"


def encoder(who, saved):
    """Returns (texts -> what encode takes, encode, result -> flat ids)."""
    if who == "fasttrain":
        from fasttrain import Tokenizer
        from fasttrain.text import columns

        tokenizer = Tokenizer.load(VOCAB, pattern="cl100k")
        tokenizer._model.handle  # noqa: B018
        return columns.from_texts, lambda c: tokenizer.encode_batch(c, threads=1), lambda r: r[0]
    if who == "gigatoken":
        import awkward
        import gigatoken

        rival = gigatoken.Tokenizer.from_tiktoken(str(VOCAB), "cl100k", {})
        return list, lambda t: rival.encode_batch(t, parallel=False), lambda r: awkward.flatten(r, axis=None)
    from fastokens._native import Tokenizer as Fastokens

    fast = Fastokens.from_file(saved)
    return list, fast.encode_batch, lambda r: np.concatenate([np.asarray(getattr(f, "ids", f)) for f in r])


def main(who, workload, saved):
    """One turn: MB of CPU second and the ids' hash, as a line of JSON."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    before: list[str] = []
    if workload == "mix":
        texts = list(lake_mix.mix(MIX_BYTES))
    else:
        documents = lake_mix.documents(workload, 25_000_000)
        ends = np.cumsum([len(t.encode()) for t in documents])
        first = int(np.searchsorted(ends, ends[-1] - UNSEEN_BYTES))
        before, texts = list(documents[:first]), list(documents[first:])
    prepare, encode, flat = encoder(who, saved)
    if before:
        encode(prepare(before))
    given = prepare(texts)
    start = time.process_time()
    result = encode(given)
    seconds = time.process_time() - start
    ids = np.asarray(flat(result)).astype("<u4")
    size = sum(len(t.encode()) for t in texts)
    print(json.dumps({"MB_per_s": size / 1e6 / seconds, "ids": hashlib.sha256(ids.tobytes()).hexdigest()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
