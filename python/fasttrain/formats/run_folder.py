"""The run folder: where every stage of one run keeps its files.

recipe.json                       the resolved recipe; a folder belongs to one recipe
free.json                         the rest of it, which may change as the run goes on: layout, threads, retention, guard
prepare/{corpus,filter,dedup,passages,decontam,split}/   documents, part by part, each part with its ledger rows
prepare/tokenizer/                tokenizer.json (or a SentencePiece tokenizer.model), report.json
prepare/shards/{train,probe}/<source>/          token shards
prepare/mixture/mixture.json      weights, tokens and epochs by source
train/metrics.jsonl               one line a step; train/tensorboard/, train/checkpoints/step-00000100/
eval/eval.json                    scores, baselines, generations, gates
export/                           the Hugging Face folder
datasheet.md, datasheet.json       what the corpus is made of
removals/list.jsonl               documents that must not be read, and removals/<request>.{md,json}; --fresh keeps them
report.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttrain.core.config import fingerprint
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    root: Path

    def stage(self, name: str) -> Path:
        """Folder of a prepare stage."""
        return self.root / "prepare" / name

    @property
    def free(self) -> Path:
        """What the recipe last said of settings that may change while the run goes on."""
        return self.root / "free.json"

    @property
    def removals(self) -> Path:
        """Removal requests: their list, and a report of each."""
        return self.root / "removals"

    @property
    def base(self) -> Path:
        """Where `prepare` notes the folder that the recipe's relative paths start from."""
        return self.root / "prepare" / "base.json"

    @property
    def tokenizer(self) -> Path:
        """tokenizer.json, or the SentencePiece model that the recipe named."""
        folder = self.stage("tokenizer")
        model = folder / "tokenizer.model"
        return model if model.is_file() and not (folder / "tokenizer.json").is_file() else folder / "tokenizer.json"

    @property
    def shards(self) -> Path:
        return self.stage("shards")

    @property
    def mixture(self) -> Path:
        return self.stage("mixture") / "mixture.json"

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def metrics(self) -> Path:
        return self.train / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.train / "checkpoints"

    @property
    def eval(self) -> Path:
        return self.root / "eval"

    @property
    def export(self) -> Path:
        return self.root / "export"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def claim(self, recipe: dict[str, Any]) -> None:
        """Make the folder this recipe's, or check that it is.

        Args:
            recipe: the identity: what any two runs in one folder must share, as plain data.
        Raises: ConfigError: another recipe's folder, naming the keys that differ; or a folder of something else.
        """
        path = self.root / "recipe.json"
        if not path.exists():
            if self.root.exists() and any(p != self.removals for p in self.root.iterdir()):
                raise ConfigError(f"{self.root}: not empty and not a run folder; choose another with --out")
            atomic.write_json(path, recipe)
            return
        found = atomic.read_json(path)
        if fingerprint(found) != fingerprint(recipe):
            keys = ", ".join(_different(found, recipe)[:8])
            raise ConfigError(
                f"{self.root}: belongs to another recipe (differs in {keys}); choose another folder with --out, "
                "or start this one afresh with --fresh"
            )


def _different(a: Any, b: Any, where: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [k for key in keys for k in _different(a.get(key), b.get(key), f"{where}.{key}" if where else key)]
    return [] if a == b else [where]
