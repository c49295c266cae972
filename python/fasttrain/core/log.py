"""Log lines and progress. Nothing is set up at import; the command line calls `setup`."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("fasttrain")


def setup(*, rank: int = 0, size: int = 1, verbose: bool = False) -> None:
    """Send fasttrain's log to stderr: everything from rank 0, warnings from the others with `[rank 3/8]`."""
    prefix = f"[rank {rank}/{size}] " if size > 1 and rank > 0 else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.INFO if rank == 0 else logging.WARNING)


class Progress:
    """Rate and ETA of long work: one live line on a terminal, a plain line every `every_s` seconds in a log."""

    def __init__(self, label: str, total: float, unit: str, *, enabled: bool = True, every_s: float = 15.0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.enabled, self.every_s = enabled, every_s
        self.done = 0.0
        self.note = ""
        self._start = self._last = time.monotonic()
        self._terminal = enabled and sys.stderr.isatty()

    def advance(self, amount: float, note: str = "") -> None:
        """Add finished work; `note` is shown behind the rate."""
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if self.enabled and now - self._last >= (0.2 if self._terminal else self.every_s):
            self._last = now
            self._show()

    def _show(self) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / seconds
        left = (self.total - self.done) / rate if rate > 0 and self.total > self.done else 0.0
        line = f"{self.label}: {self.done:,.0f}/{self.total:,.0f} {self.unit}"
        line = f"{line}, {rate:,.1f} {self.unit}/s, ETA {left:,.0f} s"
        line = f"{line}, {self.note}" if self.note else line
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            log.info(line)

    def close(self) -> None:
        """End the live line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: float, unit: str, *, enabled: bool = True) -> Iterator[Progress]:
    """`with progress("filter", num_parts, "parts") as p: ... p.advance(1)`."""
    bar = Progress(label, total, unit, enabled=enabled)
    try:
        yield bar
    finally:
        bar.close()
