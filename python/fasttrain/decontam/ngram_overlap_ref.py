"""N-gram overlap in plain Python: the definition that every other implementation must equal bit for bit."""

import numpy as np
import numpy.typing as npt

from fasttrain.text import shingle_ref
from fasttrain.text.columns import TextColumn


def ngram_overlap(column: TextColumn, keys: npt.NDArray[np.uint64], n: int) -> list[list[tuple[int, int]]]:
    """(number of the first word, place in keys) of each text's n-grams that are keys. A text below n words has none."""
    place = {int(key): k for k, key in enumerate(keys)}
    found = []
    for t in range(len(column)):
        words = shingle_ref.words(column[t])
        grams = shingle_ref.shingles(words, n) if len(words) >= n else []
        found.append([(i, place[h]) for i, h in enumerate(grams) if h in place])
    return found
