"""Workload: 110 MB of the lake (lake_mix.py) in one call, cl100k, text met before: two threads against one.

What the machine allows is measured beside it: two processes of one thread, pinned to a core each, with every other
document each, one after the other and at the same time. Wall time, all four in turn; it means something on a machine
with two idle cores only. Seconds of user and system time of each are noted. Needs FASTTRAIN_LAKE and FASTTRAIN_VOCAB,
a folder with cl100k_base.tiktoken (not shipped here).
"""

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
BYTES, TURNS = 110_000_000, 9
CORES = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
pytestmark = [
    pytest.mark.skipif(
        not (lake_mix.is_here() and VOCAB.is_file()),
        reason="FASTTRAIN_LAKE names no lake, or FASTTRAIN_VOCAB no cl100k",
    ),
    pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that it may be pinned to"),
]
AT_LEAST = 0.7
"""Of the speed-up that the two processes reach."""


class Half:
    """A process that encodes every other document when told."""

    def __init__(self, which):
        command = [sys.executable, __file__, str(which)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.wait()

    def begin(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait(self):
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.communicate()  # closes what it reads


def timed(work):
    """Wall, user and system seconds of this process."""
    before, start = os.times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, os.times()
    return wall, after.user - before.user, after.system - before.system


@pytest.mark.rival("itself, one thread")
def bench_gate_threads(benchmark, note):
    tokenizer, column = opened()
    one, _ = tokenizer.encode_batch(column, threads=1)
    two, _ = tokenizer.encode_batch(column, threads=2)
    np.testing.assert_array_equal(one, two)
    del one, two
    halves = [Half(0), Half(1)]
    rows = {"one": [], "two": [], "alone": [], "together": []}

    def turn():
        os.sched_setaffinity(0, CORES[:1])
        rows["one"].append(timed(lambda: tokenizer.encode_batch(column, threads=1)))
        os.sched_setaffinity(0, CORES)
        rows["two"].append(timed(lambda: tokenizer.encode_batch(column, threads=2)))
        alone = []
        for half in halves:
            half.begin()
            alone.append(half.wait())
        rows["alone"].append(tuple(map(sum, zip(*alone))))
        for half in halves:
            half.begin()
        both = [half.wait() for half in halves]
        rows["together"].append((max(wall for wall, _, _ in both), *(sum(b[k] for b in both) for k in (1, 2))))

    try:
        benchmark.pedantic(turn, rounds=TURNS if benchmark.enabled else 1, warmup_rounds=1)
    finally:
        for half in halves:
            half.end()
    if not benchmark.enabled:
        return
    for name, turns in rows.items():
        for k, what in enumerate(("wall_s", "user_s", "system_s")):
            note(f"{name}_{what}", statistics.median(t[k] for t in turns[1:]))
    ratio, ceiling = (
        statistics.median(a[0] / b[0] for a, b in zip(rows[x][1:], rows[y][1:]))
        for x, y in (("one", "two"), ("alone", "together"))
    )
    note("ratio", ratio)
    note("two_processes_ratio", ceiling)
    note("gate", AT_LEAST * ceiling)
    assert ratio >= AT_LEAST * ceiling, f"{ratio:.2f}x on two threads, two processes {ceiling:.2f}x"


def opened(part=slice(None)):
    from fasttrain import Tokenizer
    from fasttrain.text import columns

    return Tokenizer.load(VOCAB, pattern="cl100k"), columns.from_texts(lake_mix.mix(BYTES)[part])


def main(which):
    """A half: says a line of JSON when it is ready, then one for each line that it reads."""
    os.sched_setaffinity(0, {CORES[which]})
    tokenizer, column = opened(slice(which, None, 2))
    for _ in range(2):
        row = timed(lambda: tokenizer.encode_batch(column, threads=1))
    print(json.dumps(row), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(lambda: tokenizer.encode_batch(column, threads=1))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
