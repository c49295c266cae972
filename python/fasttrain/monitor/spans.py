"""Where the seconds of a step go, by name; the same names are ranges in a profiler's trace."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch.profiler import record_function

COMPUTE = ("forward", "backward", "optimizer")
ASIDE = ("evaluation", "checkpoint", "profile")  # not of the step, though it is behind some
WAITING, MOVING = "comm_wait", "comm"  # of communication: for ranks that come later; the call itself
COMM = (WAITING, MOVING)
COMM_OUTSIDE = "comm outside"  # seconds of COMM outside of COMPUTE


class Spans:
    """A stopwatch with names. A span inside another takes its time away from the outer one.

    One of COMM is part of what it lies in, too: forward with the sums that tensor parallelism makes in it is forward.
    In what is ASIDE it is that alone.
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
            self._count(now - self._since)
        self._since = now

    def _count(self, seconds: float) -> None:
        name = self._open[-1]
        outer = next((span for span in reversed(self._open) if span not in COMM), None)
        if outer is not None:
            self._seconds[outer] += seconds
        if name in COMM and outer not in ASIDE:
            self._seconds[name] += seconds
            if outer not in COMPUTE:
                self._seconds[COMM_OUTSIDE] += seconds

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


def shares(seconds: dict[str, float], step_s: float, waited: Sequence[float]) -> dict[str, float]:
    """What a step's line tells of where its seconds went, by names of metrics.jsonl.

    Args:
        seconds: this rank's, by name.
        waited: seconds that each rank has waited for others. The rank that waits least is the one they wait for.
    """
    wait, other = seconds.get(WAITING, 0.0), outside(seconds, step_s)
    told = {
        "comm_s": wait + seconds.get(MOVING, 0.0),
        "comm_wait_s": wait,
        "data_s": seconds.get("data", 0.0),
        "outside_s": other,
        "host_s": max(other - seconds.get(COMM_OUTSIDE, 0.0), 0.0),
    }
    if len(waited) > 1:
        ranks = [float(s) for s in waited]
        told |= {"comm_wait_max_s": max(wait, *ranks), "slowest_rank": ranks.index(min(ranks))}
    return told
