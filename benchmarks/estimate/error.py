"""How far the estimate of a recipe is off: `[mpirun -n 2] python benchmarks/estimate/error.py [demo|lake|FILE]`.

The recipe's model, batch, precision and optimizer by the real loop on drawn tokens, against `estimate` in the same
process beforehand. Of a step the median counts, of the memory the most (without a data stage before it). `--cpu-time`
measures both sides by the CPU time of the thread, on one rank, where others have the cores.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from fasttrain.batch.config import BatchConfig
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.cli.estimate import estimate_recipe
from fasttrain.cli.recipe import read
from fasttrain.comm.group import world
from fasttrain.estimate.estimate import error
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import write_shard
from fasttrain.mixture.plan import Mixture
from fasttrain.monitor.metrics import read_lines
from fasttrain.train import loop

WARMUP = 5  # steps that are not counted: memory grows, kernels are made


def write_shards(folder, recipe, num_tokens):
    """Documents of some 500 tokens, skewed as words are."""
    rng = np.random.default_rng(1)
    lengths = rng.geometric(1 / 500, max(2, num_tokens // 500)) + 1
    tokens = (1 + (recipe.model.vocab_size - 1) * rng.random(lengths.sum()) ** 4).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens[offsets[1:] - 1] = 0
    ids = rng.integers(0, 256, (len(lengths), 16), np.uint8)
    piece = (tokens, offsets, ids, 4 * len(tokens))
    shard = {"source": "drawn", "vocab_size": recipe.model.vocab_size, "tokenizer_fingerprint": "made"}
    write_shard(folder.shards / "train" / "drawn", **shard, pieces=[piece])


def train(folder, recipe, everyone):
    """Lines of the steps of a run."""
    loop.run(
        folder,
        **recipe.training,
        mixture=Mixture(weights={"drawn": 1.0}, tokens={}, epochs={}, warnings=()),
        world=everyone,
        fingerprints={"data": "made", "recipe": "made"},
    )
    return [line for line in read_lines(folder.metrics) if "event" not in line][WARMUP:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="demo")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    if options.cpu_time:
        os.environ["OMP_NUM_THREADS"] = "1"  # other threads' time is not counted
        time.perf_counter = time.thread_time
    everyone = world()
    recipe, _ = read(options.recipe, [])
    batch = BatchConfig.load(recipe.batch.to_dict() | {"warmup": ()})
    recipe = recipe.model_copy(update={"batch": batch})
    found = estimate_recipe(recipe, everyone, ranks=everyone.size)
    shorter = recipe.train.model_copy(update={"num_steps": options.steps, "eval_every": 0})
    saved = CheckpointConfig(every_steps=max(1, options.steps // 2))
    recipe = recipe.model_copy(update={"train": shorter, "checkpoint": saved})
    root = everyone.bcast(tempfile.mkdtemp() if everyone.is_root else None)
    folder = RunFolder(Path(root))
    if everyone.is_root:
        write_shards(folder, recipe, batch.num_tokens(options.steps))
    everyone.barrier()
    lines = train(folder, recipe, everyone)
    if not everyone.is_root:
        return
    print(f"{options.recipe}, {everyone.size} rank(s), {recipe.optim.name}, {found.precision}:")
    for name, row in error(found, [x["step_s"] for x in lines], max(x["memory_bytes"] for x in lines)).items():
        print(f"  {name}: predicted {row['predicted']:.4g}, measured {row['measured']:.4g}, error {row['error']:+.1%}")
    parts = ", ".join(f"{name} {seconds:.4f}" for name, seconds in found.step_parts.items())
    print(f"  predicted of a step: {parts}")
    told = {k: statistics.median(x[k] for x in lines) for k in ("outside_s", "host_s", "comm_s", "comm_wait_s")}
    print("  measured of a step: " + ", ".join(f"{name} {seconds:.4f}" for name, seconds in told.items()))


if __name__ == "__main__":
    main()
