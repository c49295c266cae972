"""A training state to and from checkpoints: tensors under global names, and everything else as plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import Saver
from fasttrain.comm.group import Group
from fasttrain.core.errors import ConfigError, FasttrainError, FormatError
from fasttrain.core.precision import Precision
from fasttrain.monitor.guard import Guard
from fasttrain.parallel.engine import Engine


@dataclass
class State:
    """Where a run is, beside its tensors and its guard."""

    step: int = 0
    """Steps done, skipped ones included."""
    tokens: int = 0
    """Targets of those steps."""
    first_batch: int = 0
    """Batches of the order before this run's first, those that the guard left out not counted: 0 but in a branch."""
    line: dict[str, Any] = field(default_factory=dict)
    """The metrics line of the last step, without its evaluation; empty at step 0."""
    val_loss: float | None = None
    """Of the last evaluation."""


def started_precision(folder: Path) -> Precision | None:
    """The precision of the run whose checkpoints lie in `folder`, the same in all; None when it has none yet."""
    for step in reversed(store.steps(folder)):
        try:
            precision: Precision | None = store.load(store.path_of(folder, step)).meta.get("precision")
        except FormatError:  # `Keeper.newest` passes it over and says so
            continue
        return precision
    return None


class Keeper:
    """Saves and loads the states of one run; every call is made by every rank."""

    def __init__(self, folder: Path, config: CheckpointConfig, world: Group, *, identity: dict[str, Any]) -> None:
        """Args: identity: what a checkpoint must share with this run to be gone on with, as plain data."""
        self.folder, self.config, self.world, self.identity = folder, config, world, identity
        self._saver = Saver(folder, config, world)
        self._saved: int | None = None

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether the state after `step` steps is to be saved."""
        return self.config.is_due(step, num_steps)

    def newest(self) -> int | None:
        """Step of the newest whole checkpoint, when everything begun has been written; the same on every rank."""
        self._saver.wait()
        path: Path | None = self.world.bcast(store.newest(self.folder) if self.world.is_root else None)
        return None if path is None else store.load(path).step

    def save(self, engine: Engine, guard: Guard, state: State) -> None:
        """Save; a step that has just been saved or loaded keeps its checkpoint.

        Raises FasttrainError for a state that is not finite: the newest checkpoint must be one to go on from.
        """
        if self._saved == state.step:
            return
        if name := engine.damaged():
            raise FasttrainError(
                f"train: {name} is not finite after step {state.step} and is not saved; start again to go on from the "
                f"newest checkpoint of {self.folder}"
            )
        meta = {
            "step": state.step,
            "tokens": state.tokens,
            "first_batch": state.first_batch,
            "line": state.line,
            "optimizer_steps": engine.optimizer_steps,
            "scaler": engine.scaler.state(),
            "guard": guard.state_dict(),
            **self.identity,
        }
        self._saver.save(state.step, engine.gather(), meta)
        self._saved = state.step

    def record(self, step: int, val_loss: float) -> None:
        """Note the validation loss of a saved step, by which the best one is kept."""
        self._saver.record(step, val_loss)

    def load(self, step: int, engine: Engine, guard: Guard, state: State) -> None:
        """Go on where the checkpoint was taken, whatever layout wrote it.

        Raises ConfigError when it belongs to other settings, naming them.
        """
        found = store.load(store.path_of(self.folder, step))
        meta = found.meta
        differ = sorted(key for key, value in self.identity.items() if meta.get(key) != value)
        if differ:
            raise ConfigError(
                f"{found.path}: was trained with other settings ({', '.join(differ)}); "
                "choose another run folder with --out, or start this one afresh with --fresh"
            )
        engine.load(found.tensors, optimizer_steps=meta["optimizer_steps"])
        engine.scaler.load_state(meta["scaler"])
        guard.load_state_dict(meta["guard"])
        state.step, state.tokens, state.line = found.step, meta["tokens"], dict(meta["line"])
        state.first_batch = meta.get("first_batch", 0)
        self._saved = found.step

    def branch(self, found: store.Checkpoint, engine: Engine, guard: Guard, state: State) -> bool:
        """Begin with the weights and the optimizer of another run; return whether its order of batches goes on too.

        It does when that run read the same data in the same order: behind its last batch, with its guard. Else the
        batches begin afresh, and so does the guard, whose window knows the losses of other data.
        """
        meta = found.meta
        engine.load(found.tensors, optimizer_steps=meta["optimizer_steps"])
        if engine.scaler.is_enabled and meta["precision"] == self.identity["precision"]:
            engine.scaler.load_state(meta["scaler"])
        if meta["order"] != self.identity["order"]:
            return False
        guard.load_state_dict(meta["guard"])
        state.first_batch = meta.get("first_batch", 0) + found.step
        return True

    def wait(self) -> None:
        """Return when everything begun is on the disk. Raises what went wrong."""
        self._saver.wait()
