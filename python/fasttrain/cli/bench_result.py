"""What a run of the benchmarks gave, row by row, and its file."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One benchmark."""

    id: str
    """As pytest names it, below the folder: nn/bench_gelu.py::bench_gate_gelu[dtype0]."""
    what: str
    rival: str = ""
    is_gate: bool = True
    outcome: str = "not run"
    """passed, failed, skipped or not run, as pytest has it."""
    reason: str = ""
    """Why it failed or was skipped."""
    figures: dict[str, float] = field(default_factory=dict)
    """What the benchmark recorded: ratio, gate, ours_ms, rival_ms, rates; median_ms of its rounds."""
    seconds: float = 0.0
    """Of all of it, with its set-up."""

    @property
    def ratio(self) -> float | None:
        """Times the rival's speed."""
        return self.figures.get("ratio")

    @property
    def verdict(self) -> str:
        """passed, recorded (it has no gate), FAILED (below its gate), ERROR (anything else), skipped, not run."""
        if self.outcome == "passed":
            return "passed" if self.is_gate else "recorded"
        if self.outcome != "failed":
            return self.outcome
        value, least, most = (self.figures.get(name) for name in ("ratio", "gate", "at_most"))
        missed = value is not None and least is not None and value < least
        return "FAILED" if missed or most is not None else "ERROR"

    def ended(self, **changes: Any) -> "Row":
        """The row with its outcome."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run: when, on what, how, and its rows in the order in which they ran."""

    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row]
    left_out: int = 0
    """Benchmarks of more threads than the run had."""

    def gates(self, *verdicts: str) -> list[Row]:
        """The gates with one of these verdicts; all when none is named."""
        return [r for r in self.rows if r.is_gate and (not verdicts or r.verdict in verdicts)]


def save(result: Result, path: Path) -> None:
    """Write a run's file."""
    atomic.write_json(path, {"fasttrain_bench": _FORMAT, **asdict(result)})


def load(path: Path) -> Result:
    """Read a run's file. Raises FormatError when it is none, or of another format."""
    data = atomic.read_json(path)
    if not isinstance(data, dict) or data.pop("fasttrain_bench", None) != _FORMAT:
        raise FormatError(f"{path}: not a file of `fasttrain bench --json`, or of another version of it")
    try:
        return Result(**{**data, "rows": [Row(**row) for row in data["rows"]]})
    except (TypeError, KeyError) as error:
        raise FormatError(f"{path}: a damaged file of `fasttrain bench --json` ({error}); make it again") from error
