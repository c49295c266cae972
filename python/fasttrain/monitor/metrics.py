"""metrics.jsonl: one JSON object a line, appended as training goes; TensorBoard beside it where it is installed."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from fasttrain.formats import atomic

log = logging.getLogger("fasttrain.metrics")


class MetricsLog:
    """Appends steps and events. Only one rank opens it.

    Opened again with `resume_step`, it first cuts what was written after that step, so that the file tells each step
    once; a last line that a kill left half-written is cut too.
    """

    def __init__(self, path: Path, *, resume_step: int | None = None, tensorboard: Path | None = None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [] if resume_step is None else [line for line in read_lines(path) if line.get("step", -1) <= resume_step]
        atomic.write_bytes(path, b"".join(_line(entry) for entry in kept))
        self._file = path.open("ab")
        self._board = _summary_writer(tensorboard, resume_step)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def event(self, name: str, **values: Any) -> None:
        """Append `{"event": name, ...}`."""
        self._append({"event": name, **values})

    def step(self, step: int, **values: Any) -> None:
        """Append one step's values; numbers go to TensorBoard too, tables as one curve a key."""
        self._append({"step": step, **values})
        if self._board is None:
            return
        for name, value in values.items():
            for tag, number in _scalars(name, value):
                self._board.add_scalar(tag, number, step)

    def close(self) -> None:
        """Write what is buffered and close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(_line(entry))
        self._file.flush()  # a crash of this process loses nothing; only a crash of the machine could


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a metrics file; a damaged line (a kill in the middle of a write) ends the reading."""
    entries: list[dict[str, Any]] = []
    if not path.exists():
        return entries
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _line(entry: dict[str, Any]) -> bytes:
    return (json.dumps(_plain(entry), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they are written as text, so that no reader takes them for numbers."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _scalars(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [(name, float(value))]
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _scalars(f"{name}/{key}", inner)]
    return []


def _summary_writer(folder: Path | None, resume_step: int | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed; metrics go to metrics.jsonl only (pip install tensorboard)")
        return None
    purge = None if resume_step is None else resume_step + 1
    return SummaryWriter(str(folder), purge_step=purge)  # type: ignore[no-untyped-call]
