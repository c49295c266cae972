"""A run folder with token shards of a small language that a tiny model learns in a few steps."""

import numpy as np

from fasttrain.batch.order import BatchConfig
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import write_shard
from fasttrain.mixture.plan import Mixture
from fasttrain.model.config import ModelConfig
from fasttrain.monitor.guard import GuardConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.train import loop
from fasttrain.train.config import TrainConfig

V, END = 61, 0
SOURCES = {"code": 5, "prose": 7}  # source -> what each token adds to the one before
NUM_STEPS = 12


def write_shards(folder, num_docs, seed):
    for source, stride in SOURCES.items():
        rng = np.random.default_rng([seed, stride])
        docs = []
        for _ in range(num_docs):
            walk = rng.integers(1, V) + np.cumsum(np.where(rng.random(rng.integers(5, 40)) < 0.9, stride, 11))
            docs.append(np.append(1 + walk % (V - 1), END))
        lengths = [len(d) for d in docs]
        piece = (
            np.concatenate(docs).astype(np.uint16),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            rng.integers(0, 256, (num_docs, 16), np.uint8),
            4 * sum(lengths),
        )
        write_shard(folder / source, source=source, vocab_size=V, tokenizer_fingerprint="made", pieces=[piece])


def make(root):
    """A prepared run folder."""
    folder = RunFolder(root)
    write_shards(folder.shards / "train", 120, seed=1)
    write_shards(folder.shards / "probe", 6, seed=2)
    return folder


def settings(**changes):
    """Keyword arguments of `loop.run`; `changes` replace single fields, named `room__field`."""
    rooms = {
        "model": ModelConfig(
            vocab_size=V, num_layers=2, dim=16, num_heads=2, ffn_dim=32, max_seq_len=24, z_loss=1e-4, dropout=0.1
        ),
        "optim": OptimConfig(lr=1e-2, warmup_steps=2),
        "batch": BatchConfig(seq_len=24, global_batch=6, packing="best_fit", document_mask=True),
        "layout": LayoutConfig(),
        "train": TrainConfig(
            num_steps=NUM_STEPS, micro_batch=4, eval_every=5, peak_flops=1e9, tensorboard=False, threads=1
        ),
        "guard": GuardConfig(warmup_steps=8, window=8),
        "checkpoint": CheckpointConfig(every_steps=4),
        "mixture": Mixture(weights={"code": 0.6, "prose": 0.4}, tokens={}, epochs={}, warnings=()),
    }
    for key, value in changes.items():
        room, _, name = key.partition("__")
        rooms[room] = type(rooms[room]).load(rooms[room].to_dict() | {name: value})
    return rooms


def run(folder, world=None, *, profile=0, **changes):
    return loop.run(
        folder,
        **settings(**changes),
        seed=3,
        world=world or SoloGroup(),
        fingerprints={"data": "made", "recipe": "made"},
        profile=profile,
    )
