"""Text to signature: shingles of the reference, minima of the reference."""

import numpy as np
import numpy.typing as npt

from fasttrain.dedup import sketch_ref
from fasttrain.text import shingle_ref
from fasttrain.text.columns import TextColumn


def minhash(
    column: TextColumn,
    n: int,
    a: npt.NDArray[np.uint32],
    b: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint32],
    num_words: npt.NDArray[np.int64],
) -> None:
    for d in range(len(column)):
        words = shingle_ref.words(column[d])
        grams = np.array(shingle_ref.shingles(words, n), np.uint64)
        sketch_ref.sketch(grams, np.array([0, len(grams)]), a, b, out[d : d + 1])
        num_words[d] = len(words)
