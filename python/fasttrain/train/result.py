"""How a run stands, and its record beside the checkpoints: a finished run returns at once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fasttrain.core.errors import FasttrainError
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder


class TrainingHalted(FasttrainError):
    """The guard stopped the run; the weights before the flagged step are in the newest checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run stands."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps of the whole run."""
    tokens: int
    """Targets trained on."""
    loss: float | None
    """Of the last step, nats a token."""
    val_loss: float | None
    """Of the last evaluation, nats a token; None without a probe set or before the first evaluation."""

    @property
    def is_finished(self) -> bool:
        """Whether every step is done (a run that was asked to stop is not)."""
        return self.step == self.num_steps


def path_of(folder: RunFolder) -> Path:
    """Where the record lies."""
    return folder.train / "result.json"


def write(folder: RunFolder, result: Result, fingerprints: Mapping[str, str]) -> None:
    """Record a finished run."""
    atomic.write_json(path_of(folder), {"result": asdict(result), "fingerprints": dict(fingerprints)})


def finished(folder: RunFolder, num_steps: int, fingerprints: Mapping[str, str]) -> Result | None:
    """The result of a run that has nothing left to do."""
    path = path_of(folder)
    if not path.exists():
        return None
    found = atomic.read_json(path)
    if found["fingerprints"] != dict(fingerprints) or found["result"]["num_steps"] != num_steps:
        return None
    return Result(**found["result"])
