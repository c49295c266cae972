"""The guard: non-finite values never reach the weights, spikes are judged by robust statistics, ranks agree.

A value is a spike when it lies more than `threshold` robust sigmas above the median of the last `window` good values:
sigma = max(1.4826 * MAD, (90 % quantile - median) / 1.2816, floor), the loss taken as it is, the gradient norm by its
logarithm. Both estimates are sigma itself where values are normal; the second follows a tail that is long upwards only.
Flagged values never enter the window, so one NaN or spike cannot hide the next: published detectors compare with a mean
that a single NaN turns into NaN, and then see nothing more or skip every step.
Policy `log` notes finite spikes and trains on: they never halt the run. As those batches were trained on, a level that
lasts is the new level: `window` of them in a row, without a good value between, become the window.
Policy after PaLM (arXiv:2204.02311, section 5.1): roll back, then skip the batches around the spike.
A batch is not to blame for weights or moments that are not finite (a fault of memory): the run returns to its newest
checkpoint and does the same batches again (train/incident.py).
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from pydantic import Field

from fasttrain.comm.group import Group
from fasttrain.core.config import Settings

Action = Literal["ok", "log", "skip", "rollback", "halt"]
_SEVERITY: tuple[Action, ...] = ("ok", "log", "skip", "rollback", "halt")

# Smallest sigma, however quiet the window was: 1 % of the loss, and 0.4 of the log gradient norm, so that at the
# default threshold a spike takes 1.1 times the median loss or e^4 = 55 times the median norm. One sequence unlike all
# others (a rare script among four) makes a norm of 10 to 25 times the median, which clipping bounds; with 0.2 and a
# threshold of 8 a run left 28 of 1,000 batches out for that, and never learnt what stood in them (benchmarks/LOG.md).
_LOSS_FLOOR, _LOG_NORM_FLOOR = 0.01, 0.4
_Q90 = 1.2816  # sigmas from the median to the 90 % quantile of a normal distribution


class GuardConfig(Settings):
    """What a spike or a non-finite value leads to."""

    policy: Literal["log", "skip", "rollback", "halt"] = "skip"
    """log: note finite spikes and train on (what is not finite is skipped); skip: leave the step out; rollback: newest
    checkpoint, then skip batches; halt: stop."""
    window: int = Field(default=128, ge=8)
    """Good values that a new one is compared with."""
    threshold: float = Field(default=10.0, gt=0)
    """Robust sigmas above the median that make a spike."""
    warmup_steps: int = Field(default=32, ge=8)
    """Good values that must be in the window before a spike can be seen."""
    max_consecutive: int = Field(default=8, ge=1)
    """Flagged steps in a row after which the run halts under any policy; under `log` only non-finite ones count."""
    skip_before: int = Field(default=0, ge=0)
    """On a rollback, batches before the flagged one that are skipped too."""
    skip_after: int = Field(default=8, ge=0)
    """On a rollback, batches after the flagged one that are skipped too."""


@dataclass(frozen=True)
class Decision:
    """What to do with a step. Only `ok` and `log` may touch the weights."""

    action: Action
    reason: str = ""
    loss_z: float = 0.0  # robust sigmas above the median; 0 before the window is filled
    norm_z: float = 0.0

    @property
    def may_update(self) -> bool:
        """Whether the optimizer may use this step's gradient."""
        return self.action in ("ok", "log")


class SkipList:
    """Batches that are left out for ever. `batch_of(step)` counts past them: the order stays a pure function."""

    def __init__(self, ranges: Iterable[Iterable[int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        for begin, end in ranges:
            self.add(begin, end)

    def add(self, begin: int, end: int) -> None:
        """Leave out the batches begin..end-1."""
        if not 0 <= begin < end:
            raise ValueError(f"skip list: need 0 <= begin < end, got {begin}, {end}")
        merged: list[tuple[int, int]] = []
        for low, high in sorted([*self._ranges, (begin, end)]):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        self._ranges = merged

    def batch_of(self, step: int) -> int:
        """The batch that optimizer step `step` takes: the step-th one that is not left out."""
        batch = step
        for begin, end in self._ranges:
            if begin > batch:
                break
            batch += end - begin
        return batch

    def to_list(self) -> list[list[int]]:
        """Plain data for the checkpoint."""
        return [[begin, end] for begin, end in self._ranges]


class Guard:
    """Judges each step by its loss and gradient norm, which are the same on every rank."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.skips = SkipList()
        self._losses: deque[float] = deque(maxlen=config.window)
        self._norms: deque[float] = deque(maxlen=config.window)
        self._consecutive = 0
        self._logged: list[tuple[float, float]] = []  # policy log: finite spikes since the last good value

    def check(self, loss: float, grad_norm: float) -> Decision:
        """Judge one step and remember it.

        Args:
            loss: mean loss of the global batch, nats a token.
            grad_norm: global gradient norm before clipping.
        Returns: never `ok` or `log` for a value that is not finite, under any policy.
        """
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return self.condemn(f"non-finite {'loss' if not math.isfinite(loss) else 'gradient norm'}")
        log_norm = math.log(max(grad_norm, 1e-30))
        loss_z = norm_z = 0.0
        if len(self._losses) >= self.config.warmup_steps:
            loss_z = _robust_z(loss, self._losses, _LOSS_FLOOR * abs(median(self._losses)))
            norm_z = _robust_z(log_norm, self._norms, _LOG_NORM_FLOOR)
        if max(loss_z, norm_z) > self.config.threshold:
            what = "loss" if loss_z >= norm_z else "gradient norm"
            reason = f"spike of the {what}"
            if self.config.policy == "log":
                return self._noted(loss, log_norm, Decision("log", reason, loss_z, norm_z))
            return self._flagged(self.config.policy, reason, loss_z, norm_z)
        self._consecutive = 0
        self._logged.clear()
        self._losses.append(loss)
        self._norms.append(log_norm)
        return Decision("ok", "", loss_z, norm_z)

    def condemn(self, reason: str) -> Decision:
        """Judge a step that cannot be computed at all (a damaged batch), like one whose loss is not finite."""
        harsh: Action = "skip" if self.config.policy == "log" else self.config.policy
        return self._flagged(harsh, reason, math.inf, math.inf)

    def agree(self, decision: Decision, world: Group) -> Decision:
        """The harshest of the ranks' decisions, on every rank."""
        worst = max(_SEVERITY.index(d) for d in world.allgather(decision.action))
        if _SEVERITY[worst] == decision.action:
            return decision
        return Decision(_SEVERITY[worst], decision.reason or "another rank", decision.loss_z, decision.norm_z)

    def roll_back(self, batch: int) -> None:
        """After a return to a checkpoint: leave out the flagged batch and its neighbours for ever."""
        self.skips.add(max(0, batch - self.config.skip_before), batch + 1 + self.config.skip_after)

    def state_dict(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return {
            "losses": list(self._losses),
            "norms": list(self._norms),
            "consecutive": self._consecutive,
            "logged": [list(pair) for pair in self._logged],
            "skips": self.skips.to_list(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._losses = deque(state["losses"], maxlen=self.config.window)
        self._norms = deque(state["norms"], maxlen=self.config.window)
        self._consecutive = state["consecutive"]
        self._logged = [(loss, norm) for loss, norm in state["logged"]]
        self.skips = SkipList(state["skips"])

    def _noted(self, loss: float, log_norm: float, decision: Decision) -> Decision:
        """A finite spike that is trained on; `window` of them in a row are the new level."""
        self._consecutive = 0
        self._logged.append((loss, log_norm))
        if len(self._logged) == self.config.window:
            losses, norms = zip(*self._logged)
            self._losses.extend(losses)
            self._norms.extend(norms)
            self._logged.clear()
        return decision

    def _flagged(self, action: Action, reason: str, loss_z: float, norm_z: float) -> Decision:
        self._consecutive += 1
        if self._consecutive > self.config.max_consecutive:
            return Decision("halt", f"{reason}, {self._consecutive} flagged steps in a row", loss_z, norm_z)
        return Decision(action, reason, loss_z, norm_z)


def _robust_z(value: float, window: Iterable[float], floor: float) -> float:
    values = sorted(window)
    middle = median(values)
    upper = values[math.ceil(0.9 * (len(values) - 1))] - middle
    sigma = max(1.4826 * median(abs(v - middle) for v in values), upper / _Q90, floor, 1e-12)
    return (value - middle) / sigma
