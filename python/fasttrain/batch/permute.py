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
_ROUND_CONSTANTS = np.array([(r * _GOLDEN) & 0xFFFFFFFFFFFFFFFF for r in range(_ROUNDS)], np.uint64)
_ODD, _HALF = np.uint64(0xD6E8FEB86659FD93), np.uint64(32)  # Steele and Vigna 2021, a multiplier of good avalanche
U64 = npt.NDArray[np.uint64]


def make_key(*parts: Any) -> int:
    """64 key bits from plain values."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def mix64(x: U64) -> U64:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def subkeys(key: np.uint64 | U64, numbers: npt.NDArray[np.int64]) -> U64:
    """One key for each of `numbers` (an epoch, a step), from one key or one each."""
    return mix64((numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) ^ key)


def permute(index: npt.NDArray[np.int64], size: int | npt.NDArray[np.int64], keys: U64) -> npt.NDArray[np.int64]:
    """Return where each index goes: for one key and size a bijection of 0..size-1.

    Shapes: N indices.
    Args:
        index: (N,) int64 in [0, size).
        size: elements of the domain, 1 to 2^62: one for all, or (N,) int64.
        keys: (N,) uint64, the key of each index, or (1,) for all.
    Cost: O(N), independent of size.
    """
    sizes = np.broadcast_to(np.asarray(size, np.int64), index.shape)
    if len(index) and (sizes.min() < 1 or sizes.max() > 1 << 62):
        raise ValueError(f"permute: size must be in [1, 2^62], got {sizes.min()} to {sizes.max()}")
    if len(index) and (index.min() < 0 or (index >= sizes).any()):
        raise ValueError(f"permute: index must be in [0, size), got {index.min()} to {index.max()}")
    different, which = np.unique(sizes, return_inverse=True)
    half = np.array([max((s - 1).bit_length() + 1, 2) // 2 for s in different.tolist()], np.uint64)[which]
    mask = (np.uint64(1) << half) - np.uint64(1)
    rounds = mix64(keys + _ROUND_CONSTANTS[:, None])  # (rounds, N) or (rounds, 1)
    limit = sizes.astype(np.uint64)
    out = _feistel(index.astype(np.uint64), half, mask, rounds)
    todo = np.flatnonzero(out >= limit)
    while len(todo):
        walked = _feistel(out[todo], half[todo], mask[todo], rounds if rounds.shape[1] == 1 else rounds[:, todo])
        out[todo] = walked
        todo = todo[walked >= limit[todo]]
    return out.astype(np.int64)


def _feistel(x: U64, half: U64, mask: U64, rounds: U64) -> U64:
    left, right = x >> half, x & mask
    for key in rounds:
        noise = (right ^ key) * _ODD  # the upper half of a product depends on all bits of its factor
        noise = (noise ^ (noise >> _HALF)) * _ODD
        left, right = right, left ^ ((noise >> _HALF) & mask)
    return (left << half) | right
