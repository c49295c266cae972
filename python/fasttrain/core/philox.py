"""Philox4x32-10, random bits as a pure function of a counter and a key: the definition.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Native ops draw the same bits
(csrc/core/philox.h), for any number of threads and ranks.
"""

import numpy as np
import numpy.typing as npt

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

LANES, WORDS = 16, 64  # counters and words of a block


def philox(counter: npt.NDArray[np.uint32], key: int) -> npt.NDArray[np.uint32]:
    """Return the four random words (..., 4) uint32 of each counter (..., 4) uint32; `key` has 64 bits."""
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    for _ in range(10):
        a, b = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (b >> _HALF) ^ c1 ^ np.uint64(k0),
            b & _LOW,
            (a >> _HALF) ^ c3 ^ np.uint64(k1),
            a & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), -1).astype(np.uint32)


def words(first: int, num_blocks: int, c1: int, c2: int, c3: int, key: int) -> npt.NDArray[np.uint32]:
    """Return (num_blocks, 64) uint32, blocks `first`, first + 1, ... of the stream (c1, c2, c3) under `key`.

    Word 16 w + l of block b is word w of the counter (16 b + l, c1, c2, c3).
    """
    counter = np.empty((num_blocks, LANES, 4), np.uint32)
    counter[..., 0] = np.arange(first * LANES, (first + num_blocks) * LANES, dtype=np.uint64).reshape(-1, LANES)
    counter[..., 1:] = np.array((c1, c2, c3), np.uint32)
    return philox(counter, key).transpose(0, 2, 1).reshape(num_blocks, WORDS)
