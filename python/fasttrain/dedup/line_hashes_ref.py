"""Hashes of spans in plain Python: the definition that every other implementation must equal."""

import numpy as np
import numpy.typing as npt

from fasttrain.text.shingle_ref import NGRAM_BASE, mix64, word_hash, words


def line_hashes(
    data: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
    digits: bool,
) -> None:
    for m, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist())):
        span = data[begin:end].tobytes()
        found, total = words(span), 0
        for word in found:
            total = (total * NGRAM_BASE + word_hash(word)) % 2**64
        if digits:
            numbers = 0
            for c in span:
                if c in b"0123456789":
                    numbers = (numbers * NGRAM_BASE + c) % 2**64
            total ^= mix64(numbers)
        hashes[m] = mix64(total) if found else 0
        counts[m] = len(found)
