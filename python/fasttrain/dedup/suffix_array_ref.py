"""Sorted suffixes in plain Python: the definition that every other implementation must equal."""

import numpy as np
import numpy.typing as npt


def suffix_array(text: npt.NDArray[np.uint8], sa: npt.NDArray[np.int32], lcp: npt.NDArray[np.int32]) -> None:
    raw = text.tobytes()
    order = sorted(range(len(raw)), key=lambda i: raw[i:])
    for k, i in enumerate(order):
        sa[k] = i
        lcp[k] = 0
        while k and max(i, order[k - 1]) + lcp[k] < len(raw) and raw[i + lcp[k]] == raw[order[k - 1] + lcp[k]]:
            lcp[k] += 1
