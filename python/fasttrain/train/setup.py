"""What a run is made of: its settings, its ranks and where everything lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import Group
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.core.errors import ConfigError
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.mixture.plan import Mixture
from fasttrain.model.config import ModelConfig
from fasttrain.monitor.guard import GuardConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel import plan
from fasttrain.train.config import TrainConfig


def check_layout(model: ModelConfig, batch: BatchConfig, layout: LayoutConfig, num_ranks: int) -> None:
    """Raise ConfigError, naming the key, unless so many ranks can train the model on the batch.

    Asked before a journey begins: the engine would find out only when the data are made.
    """
    layout = layout.resolve(num_ranks)
    plan.check(model, tp=layout.tp, pp=layout.pp)
    if batch.smallest() < layout.dp:
        raise ConfigError(f"batch.global_batch: must be at least layout.dp = {layout.dp}, got {batch.smallest()}")
    if model.positions == "learned" and batch.seq_len > model.max_seq_len:
        raise ConfigError(
            f"batch.seq_len: must be at most model.max_seq_len = {model.max_seq_len} (learned positions), got "
            f"{batch.seq_len}"
        )


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One run as it was asked for, the same on every rank."""

    folder: RunFolder
    model: ModelConfig
    optim: OptimConfig
    batch: BatchConfig
    layout: LayoutConfig
    train: TrainConfig
    guard: GuardConfig
    checkpoint: CheckpointConfig
    mixture: Mixture
    seed: int
    world: Group
    fingerprints: Mapping[str, str]
    """Of what the run depends on (data, recipe)."""
    base: Path = Path()
    """The folder that relative paths of the settings start from."""
    profile: int = 0
    """Steps to profile; 0: none."""

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.train.resolve_steps(self.batch)

    def open_order(self) -> Order:
        """The order of batches; every rank must call it. Raises ConfigError without token shards."""
        shards = open_shards(self.folder.shards / "train")
        if not shards:
            raise ConfigError(f"{self.folder.shards / 'train'}: holds no token shards; run `prepare` first")

        def build() -> Order:
            cache, data = self.folder.train / "order", self.fingerprints.get("data")
            return Order(shards, self.mixture.weights, self.batch, data_fingerprint=data, cache=cache)

        if self.world.is_root:  # builds the index of best-fit packing, the others map it
            order = build()
        self.world.barrier()
        return order if self.world.is_root else build()
