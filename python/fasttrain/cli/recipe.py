"""The recipe: one TOML file that holds the settings of every room, and where a named one lies."""

import importlib.resources
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from fasttrain.batch.order import BatchConfig
from fasttrain.batch.split import SplitConfig
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.core.config import Settings, fingerprint, override, parse_toml
from fasttrain.core.errors import ConfigError
from fasttrain.corpus.config import CorpusConfig
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.eval.config import EvalConfig
from fasttrain.filter.config import FilterConfig
from fasttrain.mixture.plan import MixtureConfig
from fasttrain.model.config import ModelConfig
from fasttrain.monitor.guard import GuardConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.prepare.journey import PrepareConfig
from fasttrain.tokenizer.shards import ShardsConfig
from fasttrain.tokenizer.stage import TokenizerConfig
from fasttrain.train.config import TrainConfig

# Keys that leave a run what it is, beside the layout: they decide how the machine is used, what is written about it,
# and what the guard does, which must be free to change where it halted a run (metrics.jsonl tells it at each start).
# Not among them although they look alike: train.device (dropout draws differ), train.eval_* and checkpoint.every_steps
# (which step is the best, where a rollback returns to), batch sizes of stages (in the stages' own fingerprints).
_FREE = {
    "train": ("threads", "micro_batch", "overlap", "recompute", "cuda_graph", "prefetch", "peak_flops", "tensorboard"),
    "checkpoint": ("keep", "keep_best", "keep_every", "async_write"),
    "guard": tuple(GuardConfig.model_fields),
}


class Recipe(Settings):
    """Everything that shapes a run. Tables are named after the rooms that they configure."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    """Names the run folder: runs/<name>."""
    seed: int = Field(default=0, ge=0)
    """Of everything that is drawn at random: initialisation, order of batches, dropout, held-out documents."""
    corpus: CorpusConfig
    """What to read."""
    filter: FilterConfig = FilterConfig()
    """What is worth reading."""
    dedup: DedupConfig = DedupConfig()
    """Exact and near duplicates."""
    passages: PassagesConfig = PassagesConfig()
    """Lines, paragraphs and byte strings that repeat."""
    decontam: DecontamConfig = DecontamConfig()
    """Benchmarks that must not be trained on."""
    split: SplitConfig = SplitConfig()
    """The held-out probe set."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """The vocabulary."""
    shards: ShardsConfig = ShardsConfig()
    """The token shards."""
    mixture: MixtureConfig = MixtureConfig()
    """Weights and epochs by source."""
    batch: BatchConfig
    """Sequences and global batch."""
    model: ModelConfig
    """The decoder; `vocab_size` is the tokenizer's."""
    optim: OptimConfig
    """AdamW and its schedule."""
    layout: LayoutConfig = LayoutConfig()
    """How ranks share the work; not part of a run's identity."""
    train: TrainConfig
    """Length, precision, device."""
    guard: GuardConfig = GuardConfig()
    """What a spike or a NaN leads to."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When to save and what to keep."""
    eval: EvalConfig = EvalConfig()
    """Prompts and gates."""

    @classmethod
    def load(cls, data: Any, where: str = "") -> Self:
        """Build from a TOML table; what one key decides for several rooms is filled in here."""
        filled = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
        seed = filled.get("seed", 0)
        for room in ("batch", "split"):
            if isinstance(filled.setdefault(room, {}), dict):
                filled[room].setdefault("seed", seed)
        stated = _priorities(filled)
        if stated and isinstance(filled.setdefault("dedup", {}), dict):
            filled["dedup"].setdefault("priority", stated)
        preferred = filled["dedup"].get("priority") if isinstance(filled.get("dedup"), dict) else None
        if preferred and isinstance(filled.setdefault("passages", {}), dict):
            filled["passages"].setdefault("priority", preferred)
        tokenizer, model = filled.get("tokenizer", {}), filled.get("model", {})
        if isinstance(tokenizer, dict) and isinstance(model, dict) and "model" in filled:
            vocab = tokenizer.get("vocab_size", TokenizerConfig().vocab_size)
            if model.setdefault("vocab_size", vocab) != vocab:
                raise ConfigError(
                    f"model.vocab_size: must be tokenizer.vocab_size = {vocab}, got {model['vocab_size']}; leave it out"
                )
        return super().load(filled, where)

    @property
    def prepare(self) -> PrepareConfig:
        """The part that shapes the token shards."""
        names = ("corpus", "filter", "dedup", "passages", "decontam", "split", "tokenizer", "shards", "mixture")
        return PrepareConfig(**{name: getattr(self, name) for name in names})

    @property
    def training(self) -> dict[str, Any]:
        """The part that shapes the training, as `train.loop.run` takes it."""
        names = ("model", "optim", "batch", "layout", "train", "guard", "checkpoint", "seed")
        return {name: getattr(self, name) for name in names}

    def micro_rows(self, num_ranks: int) -> int:
        """Sequences of one forward pass of one rank."""
        share = self.batch.global_batch // self.layout.resolve(num_ranks).dp
        return min(self.train.micro_batch or share, share) or 1

    def identity(self) -> dict[str, Any]:
        """What a run folder belongs to: everything but what may change while it goes on (the layout and `_FREE`)."""
        return {
            room: {k: v for k, v in table.items() if k not in _FREE[room]} if room in _FREE else table
            for room, table in self.to_dict().items()
            if room != "layout"
        }

    def free(self) -> dict[str, Any]:
        """What `identity` leaves out, for the run folder to keep beside it."""
        whole = self.to_dict()
        return {"layout": whole["layout"], **{room: {k: whole[room][k] for k in keys} for room, keys in _FREE.items()}}

    def identity_fingerprint(self) -> str:
        """128 bits of the identity, for manifests and checkpoints."""
        return fingerprint(self.identity())


def _priorities(data: Any) -> dict[str, int]:
    """Priorities that the sources state, for the choice of the survivor among duplicates."""
    corpus = data.get("corpus")
    sources = corpus.get("sources") if isinstance(corpus, dict) else None
    if not isinstance(sources, list):
        return {}
    return {s["name"]: s["priority"] for s in sources if isinstance(s, dict) and "name" in s and s.get("priority")}


def shipped() -> list[str]:
    """Names of the recipes in the package."""
    folder = importlib.resources.files("fasttrain") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def read(name: str, assignments: Iterable[str] = ()) -> tuple[Recipe, Path]:
    """Read a recipe by file or shipped name; return it and the folder that its relative paths start from.

    Raises: ConfigError: no such recipe, an unknown key, a wrong value: named, with the remedy.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise ConfigError(f"recipe {name}: no such file; shipped recipes: {', '.join(shipped())}")
        text, base, where = path.read_text(encoding="utf-8"), path.resolve().parent, str(path)
    elif name in shipped():
        resource = importlib.resources.files("fasttrain") / "recipes" / f"{name}.toml"
        text, base, where = resource.read_text(encoding="utf-8"), Path.cwd(), name
    else:
        raise ConfigError(f"recipe {name!r}: no such file or shipped recipe; shipped: {', '.join(shipped())}")
    return Recipe.load(override(parse_toml(text, where), assignments)), base
