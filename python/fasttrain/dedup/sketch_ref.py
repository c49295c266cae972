"""MinHash over shingle sets in NumPy: the definition that every other implementation must equal bit for bit."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1


def family(num_hashes: int, seed: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The hash functions of a seed: multipliers (odd) and addends, drawn by SplitMix64 (Steele, Lea, Flood 2014)."""
    state, draws = seed & _MASK, []
    for _ in range(num_hashes):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        draws.append(z ^ z >> 31)
    pairs = np.array(draws, np.uint64)
    return (pairs >> np.uint64(32)).astype(np.uint32) | np.uint32(1), pairs.astype(np.uint32)


def sketch(
    shingles: npt.NDArray[np.uint64],
    offsets: npt.NDArray[np.int64],
    a: npt.NDArray[np.uint32],
    b: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint32],
) -> None:
    out[:] = 0xFFFFFFFF
    for n, (begin, end) in enumerate(pairwise(offsets.tolist())):
        for at in range(begin, end, 4096):
            x_S1 = shingles[at : min(at + 4096, end), None].astype(np.uint32)
            np.minimum(out[n], (x_S1 * a + b).min(axis=0), out=out[n])  # uint32 wraps mod 2**32
