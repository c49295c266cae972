"""MurmurHash3_x64_128 in plain Python: the definition that every other implementation must equal bit for bit."""

import struct

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn

_MASK = (1 << 64) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def _rotl(x: int, r: int) -> int:
    return ((x << r) | (x >> (64 - r))) & _MASK


def _mix(k: int) -> int:
    k ^= k >> 33
    k = k * 0xFF51AFD7ED558CCD & _MASK
    k ^= k >> 33
    k = k * 0xC4CEB9FE1A85EC53 & _MASK
    return k ^ (k >> 33)


def murmur3_128(data: bytes, seed: int) -> tuple[int, int]:
    """The two 64-bit halves of one text's hash."""
    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for i in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, i)
        h1 ^= _rotl(k1 * _C1 & _MASK, 31) * _C2 & _MASK
        h1 = ((_rotl(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK
        h2 ^= _rotl(k2 * _C2 & _MASK, 33) * _C1 & _MASK
        h2 = ((_rotl(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK
    if tail := data[whole:]:
        k1, k2 = struct.unpack("<QQ", tail.ljust(16, b"\0"))
        if len(tail) > 8:
            h2 ^= _rotl(k2 * _C2 & _MASK, 33) * _C1 & _MASK
        h1 ^= _rotl(k1 * _C1 & _MASK, 31) * _C2 & _MASK
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _mix(h1), _mix(h2)
    h1 = (h1 + h2) & _MASK
    return h1, (h2 + h1) & _MASK


def hash128(column: TextColumn, seed: int, out: npt.NDArray[np.uint64]) -> None:
    for n in range(len(column)):
        out[n] = murmur3_128(column[n], seed)
