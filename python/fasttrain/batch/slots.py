"""Which source fills which slot of training: shares kept at every moment, computed from the slot's number alone.

The slots 0, 1, 2, ... of a run are dealt out along a chain of sources, largest weight first. Of the first n slots that
reach a link, it takes A(n) = floor(q n + 1/2) with q its share of what reaches it, and hands the others on. A rises by
0 or 1, so slot n belongs to the link exactly when A(n + 1) > A(n), and is its A(n)-th. After any number of slots a
source has had its share to within about one (see `deviation`); independent floor(w n) for each source would not sum to
n, and drawing at random strays by sqrt(n).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BITS = 30  # shares are kept to 2^-30 in integers, so every machine deals alike
MAX_SLOTS = 1 << (62 - _BITS)


class Slots:
    """S sources with weights that sum to 1; source numbers are positions in `weights`."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.num_sources = len(weights)
        self._chain = sorted(range(len(weights)), key=lambda s: (-weights[s], s))
        left = 1.0
        self._share: list[int] = []
        for s in self._chain:
            self._share.append(min(round(weights[s] / left * (1 << _BITS)), 1 << _BITS) if left > 0 else 0)
            left = max(left - weights[s], 0.0)
        self._share[-1] = 1 << _BITS  # the last link takes all that reaches it

    @property
    def deviation(self) -> float:
        """After any number n of slots each source has had w n slots, more or less by at most this many.

        A link rounds by at most 1/2; r, by which the slots that reach it stray from w n, grows to (1 - q) r + 1/2.
        """
        strays, largest = 0.0, 0.0
        for q in self._share[:-1]:
            largest = max(largest, q / (1 << _BITS) * strays + 0.5)
            strays = (1 - q / (1 << _BITS)) * strays + 0.5
        return max(largest, strays)

    def deal(self, slots: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return (source (N,), index (N,)): slot i is the index[i]-th slot of source[i].

        Raises ValueError for a slot below 0 or past MAX_SLOTS.
        """
        if len(slots) and (slots.min() < 0 or slots.max() >= MAX_SLOTS):
            raise ValueError(f"slots: must be in [0, {MAX_SLOTS}), got {slots.min()} to {slots.max()}")
        source = np.zeros(len(slots), np.int32)
        index = np.zeros(len(slots), np.int64)
        todo, n = np.arange(len(slots)), slots.astype(np.int64)
        for s, q in zip(self._chain, self._share):
            before = _taken(n, q)
            mine = _taken(n + 1, q) > before
            source[todo[mine]] = s
            index[todo[mine]] = before[mine]
            todo, n = todo[~mine], (n - before)[~mine]
        return source, index

    def counts(self, num_slots: int) -> list[int]:
        """Slots of each source among the first `num_slots`."""
        counts, n = [0] * self.num_sources, num_slots
        for s, q in zip(self._chain, self._share):
            counts[s] = (n * q + (1 << (_BITS - 1))) >> _BITS
            n -= counts[s]
        return counts


def _taken(n: npt.NDArray[np.int64], q: int) -> npt.NDArray[np.int64]:
    return (n * q + (1 << (_BITS - 1))) >> _BITS
