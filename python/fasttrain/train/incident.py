"""What the guard leads to: a return to the newest checkpoint, or the end of the run."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from fasttrain.monitor.guard import Decision, Guard
from fasttrain.parallel.engine import Engine
from fasttrain.train.journal import Journal
from fasttrain.train.result import TrainingHalted
from fasttrain.train.state import Keeper, State

log = logging.getLogger("fasttrain.train")


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A step that the guard has flagged."""

    decision: Decision
    batch: int
    """Place in the order; the documents are `audit ask --step`'s."""
    loss: float
    norm: float

    def warn(self, what: str) -> None:
        """Log it."""
        log.warning(
            "train: %s: %s (loss %.4g, gradient norm %.3g, batch %d)",
            what, self.decision.reason, self.loss, self.norm, self.batch,
        )  # fmt: skip

    def evidence(self) -> dict[str, Any]:
        """Plain data for an event."""
        return {
            "reason": self.decision.reason,
            "batch": self.batch,
            "loss": self.loss,
            "grad_norm": self.norm,
            "loss_z": self.decision.loss_z,
            "norm_z": self.decision.norm_z,
        }


class Rescue:
    """Takes one run back or ends it; every call is made by every rank."""

    def __init__(self, keeper: Keeper, journal: Journal, engine: Engine, guard: Guard, state: State) -> None:
        self.keeper, self.journal, self.engine, self.guard, self.state = keeper, journal, engine, guard, state
        self._returns: dict[int, int] = {}  # by step of the checkpoint

    def roll_back(self, incident: Incident) -> None:
        """Return to the newest checkpoint and leave the batches around the flagged one out from now on.

        Raises TrainingHalted when that has been done too often.
        """
        from_step, newest = self.state.step + 1, self.keeper.newest()
        assert newest is not None, "under this policy step 0 is saved"
        if not self._may_return(newest):
            limit = self.guard.config.max_consecutive
            reason = f"{incident.decision.reason}, again after {limit} returns to step {newest}"
            raise self.halt(replace(incident, decision=replace(incident.decision, reason=reason)))
        self._return(newest)
        self.guard.roll_back(incident.batch)
        self._tell("rollback", incident, from_step, newest)

    def repair(self, name: str, incident: Incident) -> None:
        """Weights or moments are not finite: return to the newest checkpoint, and do the same batches again.

        Raises TrainingHalted when there is none, when that has been done too often, or under policy halt.
        """
        incident = replace(incident, decision=replace(incident.decision, reason=f"{name} is not finite"))
        from_step, newest = self.state.step + 1, self.keeper.newest()
        if newest is None or self.guard.config.policy == "halt" or not self._may_return(newest):
            raise self.halt(incident)
        self._return(newest)
        self._tell("repair", incident, from_step, newest)

    def _may_return(self, step: int) -> bool:
        self._returns[step] = self._returns.get(step, 0) + 1
        return self._returns[step] <= self.guard.config.max_consecutive

    def _return(self, step: int) -> None:
        """Load a checkpoint; what was left out since stays left out."""
        skips = self.guard.skips.to_list()
        self.keeper.load(step, self.engine, self.guard, self.state)
        for begin, end in skips:
            self.guard.skips.add(begin, end)

    def _tell(self, event: str, incident: Incident, from_step: int, step: int) -> None:
        if self.keeper.world.is_root:
            incident.warn(f"step {from_step} rolled back to step {step}")
            self.journal.open(step)
            skips = self.guard.skips.to_list()
            self.journal.event(event, step=step, from_step=from_step, skips=skips, **incident.evidence())

    def halt(self, incident: Incident) -> TrainingHalted:
        """Save the weights as they were before the flagged step, if they are whole; return the error to raise."""
        step = self.state.step + 1
        if self.engine.damaged() is None:
            self.keeper.save(self.engine, self.guard, self.state)
        self.keeper.wait()
        self.journal.event("halt", step=self.state.step, from_step=step, **incident.evidence())
        return TrainingHalted(
            f"train: halted at step {step} by the guard: {incident.decision.reason} (loss {incident.loss:.4g}, "
            f"gradient norm {incident.norm:.3g}, batch {incident.batch}); `audit --step {step}` shows its documents; "
            "start again with another guard to go on (--set guard.policy=skip leaves it out, log trains on it)"
        )
