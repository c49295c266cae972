"""A keyed permutation of 0..n-1 that is never stored: where element i goes is computed from i, n and the key.

Feistel network over the smallest even number of bits that holds n, with cycle walking: a value that lands at n or above
is sent through again, at most 4 times on average (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDS = 6  # 4 already make a pseudorandom permutation of large domains (Luby and Rackoff 1988); small ones need more
_GOLDEN = 0x9E3779B97F4A7C15
U64 = npt.NDArray[np.uint64]


def make_key(*parts: Any) -> int:
    """64 key bits from plain values."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def mix64(x: U64) -> U64:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def subkeys(key: int, numbers: npt.NDArray[np.int64]) -> U64:
    """One key for each of `numbers` (an epoch, a step)."""
    return mix64((numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) ^ np.uint64(key))


def permute(index: npt.NDArray[np.int64], size: int, keys: U64) -> npt.NDArray[np.int64]:
    """Return where each index goes: for one key a bijection of 0..size-1.

    Shapes: N indices.
    Args:
        index: (N,) int64 in [0, size).
        size: elements of the domain, 1 to 2^62.
        keys: (N,) uint64, the key of each index, or (1,) for all.
    Cost: O(N), independent of size.
    """
    if size < 1 or size > 1 << 62:
        raise ValueError(f"permute: size must be in [1, 2^62], got {size}")
    if len(index) and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"permute: index must be in [0, {size}), got {index.min()} to {index.max()}")
    half = max((size - 1).bit_length() + 1, 2) // 2
    keys = np.broadcast_to(keys, index.shape)
    out = index.astype(np.uint64)
    todo = np.arange(len(index))
    while len(todo):
        walked = _feistel(out[todo], half, keys[todo])
        out[todo] = walked
        todo = todo[walked >= np.uint64(size)]
    return out.astype(np.int64)


def _feistel(x: U64, half: int, keys: U64) -> U64:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = x >> shift, x & mask
    for r in range(_ROUNDS):
        noise = mix64(right ^ (keys + np.uint64((r * _GOLDEN) & 0xFFFFFFFFFFFFFFFF)))
        left, right = right, left ^ (noise & mask)
    return (left << shift) | right
