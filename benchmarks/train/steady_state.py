"""How much of a step is neither forward, backward nor optimizer: `python benchmarks/train/steady_state.py [10m]`.

The real loop on real token shards (made of drawn tokens, two sources, document masks), with the guard, prefetching,
metrics, checkpoints and evaluations of a run. `outside_s` of metrics.jsonl is what is counted: from the end of a step
to the end of the next, without the three and without what stands in lines of its own: checkpoints and evaluations.
Fails where its median is over the 2 % that is asked. `--profile 8` prints where a step goes instead.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import workloads as w

from fasttrain.batch.order import BatchConfig
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import write_shard
from fasttrain.mixture.plan import Mixture
from fasttrain.monitor.guard import GuardConfig
from fasttrain.monitor.metrics import read_lines
from fasttrain.optim.config import OptimConfig
from fasttrain.train import loop
from fasttrain.train.config import TrainConfig

ASKED = 0.02
WARMUP = 10  # steps that are not counted: memory grows, kernels are made
SOURCES = {"code": 0.6, "prose": 0.4}


def write_shards(folder, vocab_size, num_tokens, seed):
    """Shards of documents of some 500 tokens, skewed as words are."""
    for i, source in enumerate(SOURCES):
        rng = np.random.default_rng([seed, i])
        lengths = rng.geometric(1 / 500, max(2, num_tokens // 500)) + 1
        tokens = (1 + (vocab_size - 1) * rng.random(lengths.sum()) ** 4).astype(np.uint16)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens[offsets[1:] - 1] = 0
        ids = rng.integers(0, 256, (len(lengths), 16), np.uint8)
        piece = (tokens, offsets, ids, 4 * len(tokens))
        write_shard(folder / source, source=source, vocab_size=vocab_size, tokenizer_fingerprint="made", pieces=[piece])


def train(work, root, options):
    """Lines of the steps of a run."""
    folder = RunFolder(root)
    num_tokens = work.rows * work.seq_len * options.steps
    write_shards(folder.shards / "train", work.model.vocab_size, num_tokens, seed=1)
    write_shards(folder.shards / "probe", work.model.vocab_size, 20_000, seed=2)
    loop.run(
        folder,
        model=work.model,
        optim=OptimConfig(lr=w.LR, betas=w.BETAS, eps=w.EPS, weight_decay=w.WEIGHT_DECAY, clip_norm=w.CLIP),
        batch=BatchConfig(seq_len=work.seq_len, global_batch=work.rows, document_mask=True),
        layout=LayoutConfig(),
        train=TrainConfig(
            num_steps=options.steps,
            precision=options.precision,
            threads=options.threads,
            eval_every=options.every,
            eval_tokens=16384,
        ),
        guard=GuardConfig(),
        checkpoint=CheckpointConfig(every_steps=options.every),
        mixture=Mixture(weights=SOURCES, tokens={}, epochs={}, warnings=()),
        seed=w.SEED,
        world=SoloGroup(),
        fingerprints={"data": "made", "recipe": "made"},
        profile=options.profile,
    )
    if options.profile:
        print((folder.train / "profile" / "table.txt").read_text())
    return [line for line in read_lines(folder.metrics) if "event" not in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="10m", choices=w.WORKLOADS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--every", type=int, default=50, help="steps from checkpoint to checkpoint, evaluations too")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--profile", type=int, default=0, help="print the table of so many steps instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        lines = train(w.WORKLOADS[options.name], Path(root), options)
    if options.profile:
        return
    steady = lines[WARMUP:]
    shares = [line["outside_s"] / line["step_s"] for line in steady]
    middle = statistics.median(shares)
    print(f"{options.name}, {len(steady)} steps, {options.threads} threads: median step "
          f"{statistics.median(line['step_s'] for line in steady):.3f} s")  # fmt: skip
    print(f"outside forward, backward and optimizer: median {middle:.2%}, p99 {np.quantile(shares, 0.99):.2%}, "
          f"{sum(line['outside_s'] for line in steady) / sum(line['step_s'] for line in steady):.2%} of all; of it the "
          f"wait for a batch: median {statistics.median(line['data_s'] for line in steady) * 1e3:.2f} ms")  # fmt: skip
    seconds = sum(line["step_s"] for line in lines)
    for name in ("checkpoint_s", "evaluation_s"):
        spent = [line[name] for line in lines if name in line]
        print(f"{name}, {len(spent)} times: median {statistics.median(spent):.3f} s; every {options.every} steps "
              f"{statistics.median(spent) / options.every / (seconds / len(lines)):.2%} of training")  # fmt: skip
    if middle > ASKED:
        sys.exit(f"steady_state: {middle:.2%} of a step are outside, at most {ASKED:.0%}")


if __name__ == "__main__":
    main()
