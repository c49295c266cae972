"""What each part of a recipe is worth: python recipe_variants.py RECIPE PREPARED OUT [NAME ...] [--seeds 1 2].

PREPARED is a run folder that `fasttrain prepare` made of the recipe (`demo`, `lake`, a file). Each variant changes one
thing of the recipe and trains on the same shards; a seed is that of the first weights and of the order of batches, the
held-out documents stay. A run's length is in steps, so that a busy machine changes no score. What a variant costs is
CPU time of the training; where others compute too it is good to a tenth. What is in OUT is not done again, and the
table is of all that is there: bits per byte of the probe set as `eval` counts them.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from fasttrain.checkpoint import store
from fasttrain.cli import recipe as recipes
from fasttrain.cli.recipe import Recipe
from fasttrain.comm.group import SoloGroup
from fasttrain.eval.load import load_model
from fasttrain.eval.score import ALL, score_shard, total
from fasttrain.formats import atomic, manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.mixture.plan import Mixture
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.train import loop

# What only watches a run is not what is compared.
ALWAYS = (
    "train.eval_every=0", "train.eval_tokens=1", "train.tensorboard=false", "train.threads=1", "train.peak_flops=1e11",
    "checkpoint.every_steps=1000000", "checkpoint.keep=1",
)  # fmt: skip
AS_IT_IS = "as it is"
VARIANTS: dict[str, tuple[str, ...]] = {
    AS_IT_IS: (),
    "embeddings at lr": ("optim.embed_lr_ratio=1.0",),
    "embeddings at 2 lr": ("optim.embed_lr_ratio=2.0",),
    "embeddings at 8 lr": ("optim.embed_lr_ratio=8.0",),
    "betas 0.9, 0.99": ("optim.betas=[0.9, 0.99]",),
    "z-loss 1e-4": ("model.z_loss=1e-4",),
    "qk-norm": ("model.qk_norm=true",),
    "dropout 0.05": ("model.dropout=0.05",),
    "untied": ("model.tied_embeddings=false",),
    "wsd 0.5": ("optim.schedule='wsd'", "optim.decay_fraction=0.5"),
    "wsd 0.5, average 0.98": ("optim.schedule='wsd'", "optim.decay_fraction=0.5", "train.ema_decay=0.98"),
    "average 0.98": ("train.ema_decay=0.98",),
    "concat": ("batch.packing='concat'",),
    # the same tokens as 300 steps of 8
    "batch warm-up": ("batch.warmup=[{steps=66,global_batch=4}]", "train.num_steps=333"),
    "sequence warm-up": ("batch.warmup=[{steps=33,seq_len=64},{steps=33,seq_len=128}]",),
    "bf16_stochastic": ("train.precision='bf16_stochastic'",),
    "fp32": ("train.precision='fp32'",),
}
"""Some are made for `demo` with `--set train.num_steps=300 --set optim.warmup_steps=35`."""


def train(base: str, prepared: Path, out: Path, name: str, seed: int, changes: tuple[str, ...]) -> None:
    """Train and score one run into `out`, unless it is there."""
    if (out / "variant.json").exists():
        return
    folder, data = RunFolder(out), RunFolder(prepared)
    vocab_size = atomic.read_json(prepared / "recipe.json")["tokenizer"]["vocab_size"]
    fixed = [*ALWAYS, f"tokenizer.vocab_size={vocab_size}", f"seed={seed}", f"batch.seed={seed}"]
    recipe, _ = recipes.read(base, [*fixed, *changes])
    folder.claim(recipe.identity())
    if not (out / "prepare").exists():
        os.symlink((prepared / "prepare").resolve(), out / "prepare")
    started = time.process_time()
    done = loop.run(
        folder,
        **recipe.training,
        mixture=Mixture.load(manifest.read(data.stage("mixture")).extra["mixture"]),
        world=SoloGroup(),
        fingerprints={"recipe": recipe.identity_fingerprint()},
    )
    found: dict[str, Any] = {"name": name, "seed": seed, "changes": changes, "tokens": done.tokens, "steps": done.step}
    found["cpu_s"] = time.process_time() - started
    found["bpb"] = score(folder, recipe)
    atomic.write_json(out / "variant.json", found)


def score(folder: RunFolder, recipe: Recipe) -> dict[str, float]:
    """Bits per byte by source of the newest checkpoint, or of its averaged weights where the recipe keeps them."""
    torch.set_num_threads(1)
    model, _ = load_model(store.newest(folder.checkpoints))
    if recipe.train.ema_decay:
        averaged = store.load(store.newest(folder.checkpoints)).averaged().tensors
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(averaged[name])
    eot_id = Tokenizer.load(folder.tokenizer).eot_id
    scores = {
        source: score_shard(model, shard, eot_id=eot_id, context_tokens=recipe.batch.seq_len,
                            document_mask=recipe.batch.document_mask)
        for source, shard in open_shards(folder.shards / "probe").items() if shard.num_docs
    }  # fmt: skip
    return {source: s.bpb for source, s in (scores | {ALL: total(scores)}).items()}


def table(out: Path) -> None:
    """Print what is in `out`, the best first."""
    runs = defaultdict[str, list[dict[str, Any]]](list)
    for path in sorted(out.glob("*/variant.json")):
        found = json.loads(path.read_text())
        runs[found["name"]].append(found)
    base = {r["seed"]: r["bpb"][ALL] for r in runs.get(AS_IT_IS, [])}
    print("| variant | bits per byte, by seed | mean | less the same seeds as it is | tokens a CPU second |")
    print("|---|---|---|---|---|")
    for name, found in sorted(runs.items(), key=lambda item: statistics.mean(r["bpb"][ALL] for r in item[1])):
        scores = [r["bpb"][ALL] for r in found]
        beside = [r["bpb"][ALL] - base[r["seed"]] for r in found if r["seed"] in base]
        rate = statistics.median(r["tokens"] / r["cpu_s"] for r in found)
        print(
            f"| {name} | {', '.join(f'{s:.4f}' for s in scores)} | {statistics.mean(scores):.4f} | "
            f"{f'{statistics.mean(beside):+.4f}' if beside else ''} | {rate:,.0f} |"
        )


def main() -> None:
    """Train those that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="a shipped recipe's name, or a file")
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="variants; all when none is named")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--set", action="append", default=[], help="of every variant, such as train.num_steps=300")
    parser.add_argument("--as", dest="as_", help="one variant of this name, of what --set says")
    args = parser.parse_args()
    variants = {args.as_: ()} if args.as_ else {name: VARIANTS[name] for name in args.names or VARIANTS}
    for seed in args.seeds:
        for name, changes in variants.items():
            out = args.out / f"{name.replace(' ', '-').replace('/', '-')}.{seed}"
            train(args.recipe, args.prepared, out, name, seed, (*args.set, *changes))
    table(args.out)


if __name__ == "__main__":
    main()
