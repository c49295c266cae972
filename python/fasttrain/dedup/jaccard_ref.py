"""Set intersection in NumPy: the definition that every other implementation must equal."""

import numpy as np
import numpy.typing as npt


def jaccard(
    a: npt.NDArray[np.uint64],
    a_offsets: npt.NDArray[np.int64],
    b: npt.NDArray[np.uint64],
    b_offsets: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    common: npt.NDArray[np.int64],
) -> None:
    for k, (i, j) in enumerate(pairs):
        x, y = a[a_offsets[i] : a_offsets[i + 1]], b[b_offsets[j] : b_offsets[j + 1]]
        common[k] = len(np.intersect1d(x, y, assume_unique=True))
