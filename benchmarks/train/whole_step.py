"""The whole training step against its rivals, as a table: `python benchmarks/train/whole_step.py [10m] [134m]`.

Each side has a process of its own (side.py), and the sides work in turn, a step each, so that what slows the machine
slows all. Losses are compared first: the same weights and batches must give the same curve, within what bf16 products
round. Ratios are medians over the steps, rival / ours, in wall and in CPU time; memory is each process's greatest size.
FLOPs a token are `fasttrain.model.cost.FLOPS_FORMULA`'s.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from workloads import WORKLOADS

from fasttrain.model.cost import flops_per_token, num_params

ASKED = {("134m", "compile"): 1.2, ("10m", "compile"): 1.3, ("10m", "trainer"): 1.8, ("10m", "eager"): 1.6}
MEMORY_ASKED = {("134m", "compile"): 0.7}
COLUMNS = ("model", "side", "tokens/s", "GFLOP/s", "wall s", "CPU s", "rival / ours, wall", "CPU", "at least",
           "peak GB", "ours / rival", "at most", "first loss", "last loss")  # fmt: skip
LOSS_BOUND = 0.02  # nats: bf16 rounds a logit of size 4 to 1/64, and its error to the mean of thousands


class Side:
    """A side at work."""

    def __init__(self, side, name, threads, num_steps):
        self.name, self.answers = side, []
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("side.py")), side, name, str(threads),
                   str(num_steps)]  # fmt: skip
        env = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def step(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            sys.exit(f"{self.name}: ended with status {self.process.wait()}; run side.py by hand to see why")
        self.answers.append(json.loads(line))

    def stop(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()

    def each(self, key, first=0):
        return [answer[key] for answer in self.answers[first:]]


def measure(name, threads, num_steps, warmup):
    """All sides' answers; ours is the first."""
    work = WORKLOADS[name]
    sides = [Side(side, name, threads, num_steps + warmup) for side in ("fasttrain", *work.rivals)]
    try:
        for step in range(num_steps + warmup):
            for side in sides if step % 2 else sides[::-1]:
                side.step()
    finally:
        for side in sides:
            side.stop()
    for side in sides[1:]:
        off = max(abs(a - b) for a, b in zip(side.each("loss"), sides[0].each("loss"), strict=True))
        if off > LOSS_BOUND:
            sys.exit(f"{name}: {side.name}'s losses are {off:.3f} nats off ours, at most {LOSS_BOUND}")
    return sides


def rows_of(name, sides, warmup):
    """Lines of a Markdown table."""
    work, ours = WORKLOADS[name], sides[0]
    tokens = work.rows * work.seq_len
    flops = flops_per_token(work.model, work.seq_len)
    for side in sides:
        wall, cpu = (statistics.median(side.each(key, warmup)) for key in ("wall_s", "cpu_s"))
        peak = max(side.each("peak_bytes"))
        ratios = [
            statistics.median(theirs / mine for theirs, mine in zip(side.each(key, warmup), ours.each(key, warmup)))
            for key in ("wall_s", "cpu_s")
        ]
        share = max(ours.each("peak_bytes")) / peak
        asked, memory = (table.get((name, side.name), "") for table in (ASKED, MEMORY_ASKED))
        cells = [name, side.name, f"{tokens / wall:,.0f}", f"{flops * tokens / wall / 1e9:,.0f}", f"{wall:.3f}",
                 f"{cpu:.3f}", *(f"{ratio:.2f}" for ratio in ratios), str(asked), f"{peak / 1e9:.2f}", f"{share:.2f}",
                 str(memory), f"{side.each('loss')[0]:.4f}", f"{side.each('loss')[-1]:.4f}"]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(WORKLOADS), help=f"workloads: {', '.join(WORKLOADS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each side")
    parser.add_argument(
        "--warmup", type=int, default=3, help="untimed ones before (torch.compile compiles in the first)"
    )
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in options.names:
        sides = measure(name, options.threads, options.steps, options.warmup)
        print("\n".join(rows_of(name, sides, options.warmup)), flush=True)
        total = num_params(WORKLOADS[name].model).total
        print(f"<!-- {name}: {total:,} parameters, {options.steps} steps in turn, {options.threads} threads -->")


if __name__ == "__main__":
    main()
