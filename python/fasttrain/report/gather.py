"""Everything the page shows, read from a run folder: whatever is there, and None or empty for what is not."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from fasttrain.audit.ledger import Ledger
from fasttrain.audit.trained import TrainedRow, trained_on
from fasttrain.core.errors import ConfigError, FasttrainError, FormatError
from fasttrain.formats import manifest
from fasttrain.formats.manifest import Manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.report import metrics

log = logging.getLogger("fasttrain.report")

PREPARE = ("corpus", "filter", "dedup", "passages", "decontam", "split", "tokenizer", "shards", "mixture")


@dataclass
class RunData:
    """One run folder, read once. A part that is damaged is treated as missing and named in `damaged`."""

    run: RunFolder
    damaged: list[str] = field(default_factory=list)

    def __enter__(self) -> "RunData":
        self.ledger = Ledger(self.run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe."""
        return self._json(self.run.root / "recipe.json")

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """Finished prepare stages by name, in the order of the flow."""
        found: dict[str, Manifest] = {}
        for name in PREPARE:
            folder = self.run.stage(name)
            if (folder / manifest.NAME).exists():
                try:
                    found[name] = manifest.read(folder)
                except (FormatError, ConfigError) as error:
                    self._damage(folder / manifest.NAME, error)
        return found

    @cached_property
    def mixture(self) -> dict[str, Any]:
        """mixture.json."""
        return self._json(self.run.mixture)

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """The tokenizer's own report."""
        return self._json(self.run.tokenizer.with_name("report.json"))

    @cached_property
    def shards(self) -> dict[str, dict[str, Any]]:
        """shard.json of each "train/<source>" and "probe/<source>"."""
        paths = sorted(self.run.shards.glob("*/*/shard.json"))
        return {f"{p.parent.parent.name}/{p.parent.name}": self._json(p) for p in paths}

    @cached_property
    def curves(self) -> metrics.Curves:
        """metrics.jsonl."""
        return metrics.read(self.run.metrics)

    @cached_property
    def eval(self) -> dict[str, Any]:
        """eval.json."""
        return self._json(self.run.eval / "eval.json")

    @cached_property
    def trained(self) -> list[TrainedRow]:
        """The training set by source and licence."""
        try:
            return trained_on(self.run)
        except FasttrainError as error:
            log.debug("%s", error)
            return []

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """A query over documents and ledger."""
        return self.ledger.query(sql, parameters).to_dicts()

    def first_stage(self) -> str:
        """The stage that holds everything that was read, or the first there is."""
        return next(iter(self.ledger.stages()), "corpus")

    def seconds(self) -> dict[str, float]:
        """Wall time of what has been done, by stage, training and evaluation included."""
        out = {name: m.report.seconds for name, m in self.manifests.items()}
        if self.curves.num_steps:
            out["train"] = self.curves.seconds
        if self.eval.get("seconds"):
            out["eval"] = float(self.eval["seconds"])
        return out

    def wall_seconds(self) -> float:
        """Wall time of all starts of `fasttrain run` on this folder; 0 when it was run stage by stage."""
        starts = self._json(self.run.root / "run.json").get("starts", [])
        return sum(float(s.get("seconds", 0)) for s in starts if isinstance(s, dict))

    def _json(self, path: Path) -> dict[str, Any]:
        if not path.exists():
            return {}
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._damage(path, error)
            return {}
        return data if isinstance(data, dict) else {"values": data}

    def _damage(self, path: Path, error: Exception) -> None:
        self.damaged.append(f"{path.relative_to(self.run.root)}: {error}")


def at(data: Mapping[str, Any], *path: str, default: Any = None) -> Any:
    """A value deep in plain data; `default` where any step of the way is missing."""
    value: Any = data
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return default
        value = value[step]
    return value
