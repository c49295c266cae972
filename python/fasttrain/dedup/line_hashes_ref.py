"""Hashes of spans in plain Python: the definition that every other implementation must equal."""

import numpy as np
import numpy.typing as npt

from fasttrain.text.shingle_ref import ngram_hash, words


def line_hashes(
    data: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
) -> None:
    for m, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist())):
        found = words(data[begin:end].tobytes())
        hashes[m] = ngram_hash(found) if found else 0
        counts[m] = len(found)
