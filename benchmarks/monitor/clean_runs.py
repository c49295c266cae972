"""Many short clean runs, for the guard's false alarms: python clean_runs.py PREPARED OUT [--steps 600] [--seeds 10].

PREPARED is a prepared run folder (`fasttrain prepare demo --set tokenizer.vocab_size=512`). Its text is trained on by a
model so small that a step takes milliseconds, in every manner that moves losses and gradients: precisions, optimizers,
schedules, rates at the edge, batches down to one sequence, warm-ups of batch and sequences. Small batches are the
hardest case: the mean of few tokens is as uneven as their texts. The guard only notes what it sees (policy log): an
alarm changes nothing behind it. `false_alarms.py OUT/*` makes the table.
"""

import argparse
import os
from pathlib import Path

from fasttrain.cli.recipe import Recipe
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import override
from fasttrain.formats import atomic, manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.mixture.plan import Mixture
from fasttrain.train import loop

SMALL = (
    "model.num_layers=2", "model.dim=32", "model.num_heads=2", "model.num_kv_heads=1", "model.ffn_dim=96",
    "model.max_seq_len=64", "batch.seq_len=64", "batch.global_batch=4", "optim.warmup_steps=30",
    "train.eval_every=0", "train.eval_tokens=1", "train.tensorboard=false", "train.threads=1", "train.peak_flops=1e11",
    "train.precision='fp32'", "guard.policy='log'", "checkpoint.every_steps=1000000", "checkpoint.keep=1",
)  # fmt: skip
MANNERS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "bf16": ("train.precision='bf16'",),
    "Muon": ("optim.name='muon'",),
    "wsd": ("optim.schedule='wsd'", "optim.decay_fraction=0.3"),
    "constant rate": ("optim.schedule='constant'",),
    "rate x 5": ("optim.lr=15e-3",),
    "no warm-up of the rate": ("optim.warmup_steps=0",),
    "qk-norm, z-loss": ("model.qk_norm=true", "model.z_loss=1e-4"),
    "dropout": ("model.dropout=0.1",),
    "documents masked": ("batch.document_mask=true",),
    "batches of 1": ("batch.global_batch=1",),
    "batches of 2": ("batch.global_batch=2",),
    "batches of 32": ("batch.global_batch=32", "batch.seq_len=32"),
    "batch warm-up": ("batch.warmup=[{steps=100,global_batch=2},{steps=100,global_batch=4}]",),
    "sequence warm-up": ("batch.warmup=[{steps=100,seq_len=16},{steps=100,seq_len=32}]",),
}


def train(prepared: Path, out: Path, seed: int, steps: int, changes: tuple[str, ...]) -> None:
    """One run into `out`, unless it is there."""
    folder, data = RunFolder(out), RunFolder(prepared)
    recipe = Recipe.load(
        override(
            atomic.read_json(prepared / "recipe.json"),
            [*SMALL, f"seed={seed}", f"batch.seed={seed}", f"train.num_steps={steps}", *changes],
        )
    )
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "prepare").exists():
        os.symlink((prepared / "prepare").resolve(), out / "prepare")
    mixture = Mixture.load(manifest.read(data.stage("mixture")).extra["mixture"])
    loop.run(
        folder,
        **recipe.training,
        mixture=mixture,
        world=SoloGroup(),
        fingerprints={"recipe": recipe.identity_fingerprint()},
    )


def main() -> None:
    """Train them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    for seed in range(args.seeds):
        for name, changes in MANNERS.items():
            if args.only in name:
                train(args.prepared, args.out / f"{name.replace(' ', '-')}.{seed}", seed, args.steps, changes)


if __name__ == "__main__":
    main()
