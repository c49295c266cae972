"""Where the seconds of a step go, by name; the same names are ranges in a profiler's trace."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch.profiler import record_function

COMPUTE = ("forward", "backward", "optimizer")
ASIDE = ("evaluation", "checkpoint", "profile")  # not of the step, though it is behind some


class Spans:
    """A stopwatch with names. A span inside another takes its time away from the outer one.

    On a card the seconds are the host's: kernels that run behind it are counted where the host waits for them.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, name: str, *, is_traced: bool = True) -> Iterator[None]:
        """Count the block as `name`; `is_traced`: in a profiler's trace too."""
        self._turn()
        self._open.append(name)
        try:
            with record_function(name) if is_traced else nullcontext():
                yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now

    def of(self, name: str) -> float:
        """Seconds of a name since the last `take`."""
        return self._seconds.get(name, 0.0)

    def take(self) -> dict[str, float]:
        """Return the seconds by name and start again at zero."""
        seconds, self._seconds = dict(self._seconds), defaultdict(float)
        return seconds


def outside(seconds: dict[str, float], step_s: float) -> float:
    """Seconds of a step that went into neither forward, backward nor the optimizer."""
    return max(step_s - sum(seconds.get(name, 0.0) for name in COMPUTE), 0.0)
