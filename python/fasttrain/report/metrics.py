"""metrics.jsonl -> curves of bounded size. Thinning keeps the least and the greatest of each stretch: spikes stay."""

import itertools
import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_POINTS = 1200
MAX_EVENTS = 200


@dataclass
class Curves:
    """A run's steps by column; a value that a step lacks is NaN."""

    columns: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)  # name -> (steps,)
    start: dict[str, Any] = field(default_factory=dict)  # the "start" event
    events: list[dict[str, Any]] = field(default_factory=list)  # other events and guard actions, the first MAX_EVENTS
    num_events: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # sum of step_s

    @property
    def num_steps(self) -> int:
        return len(self.columns.get("step", ()))

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of a column, thinned to about MAX_POINTS."""
        if name not in self.columns:
            return [], []
        values = self.columns[name]
        is_there = np.isfinite(values)
        return thin(self.columns["step"][is_there], values[is_there])

    def family(self, prefix: str) -> list[str]:
        """Sources of a `<prefix>.<source>` family, in name order."""
        return sorted(n.removeprefix(f"{prefix}.") for n in self.columns if n.startswith(f"{prefix}."))


def read(path: Path) -> Curves:
    """Read a metrics file as a stream; an absent one gives empty curves, a last line cut by a kill is left out."""
    curves = Curves()
    if not path.exists():
        return curves
    columns: dict[str, array[float]] = {}
    count = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("event") == "start":
                curves.start = curves.start or record
            elif "event" in record:
                if record["event"] != "finish":  # the end is no event of note
                    _add_event(curves, record)
            elif "step" in record:
                curves.last = record
                step_s = record.get("step_s")
                curves.seconds += step_s if isinstance(step_s, (int, float)) else 0.0
                if record.get("guard", "ok") != "ok":
                    _add_event(curves, {"event": f"guard: {record['guard']}", "step": record["step"],
                                        "loss": record.get("loss"), "grad_norm": record.get("grad_norm")})  # fmt: skip
                _append(columns, count, record)
                count += 1
    curves.columns = {
        name: np.concatenate([np.frombuffer(c, np.float64), np.full(count - len(c), np.nan)])
        for name, c in columns.items()
    }
    return curves


def thin(steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """At most about MAX_POINTS points: of each stretch the least and the greatest value, in order."""
    if len(steps) <= MAX_POINTS:
        return steps.tolist(), _rounded(values)
    keep: set[int] = {0, len(steps) - 1}
    edges = np.linspace(0, len(steps), MAX_POINTS // 2 + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        if high > low:
            keep |= {low + int(values[low:high].argmin()), low + int(values[low:high].argmax())}
    index = np.array(sorted(keep))
    return steps[index].tolist(), _rounded(values[index])


def _append(columns: dict[str, "array[float]"], count: int, record: dict[str, Any]) -> None:
    flat = {k: v for k, v in record.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for family in ("loss_by_source", "val_loss_by_source", "epochs"):
        flat |= {f"{family}.{s}": v for s, v in (record.get(family) or {}).items() if isinstance(v, (int, float))}
    for name, value in flat.items():
        column = columns.setdefault(name, array("d"))
        if len(column) < count:
            column.extend([float("nan")] * (count - len(column)))
        column.append(float(value))


def _add_event(curves: Curves, record: dict[str, Any]) -> None:
    curves.num_events += 1
    if len(curves.events) < MAX_EVENTS:
        curves.events.append(record)


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
