"""MinHash signatures of sets that are already hashed: the kernel behind `minhash`."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import sketch_ref
from fasttrain.dedup.sketch_ref import family

NUM_HASHES = 112
"""FineWeb's 14 bands of 8 rows."""


def sketch(
    shingles: npt.NDArray[np.uint64],
    offsets: npt.NDArray[np.int64],
    *,
    num_hashes: int = NUM_HASHES,
    seed: int = 0,
    out: npt.NDArray[np.uint32] | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.uint32]:
    """Return the signature of each set: sig[n, k] = min over its shingles x of a[k] * (x mod 2**32) + b[k] mod 2**32.

    Shapes: N sets, S shingles in all, K = num_hashes.
    Args:
        shingles: (S,) uint64, well mixed in their lower 32 bits (as text.shingle gives them); in any order.
        offsets: (N+1,) int64; set n is shingles[offsets[n]:offsets[n + 1]].
        num_hashes: hash functions; the first k of a seed are the same for every number.
        seed: 64 bits; signatures of different seeds cannot be compared.
        out: (N, K) uint32, filled in place; allocated when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: `out`. An empty set gets 0xFFFFFFFF in every place. Signatures of unions are minima of signatures.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order or impl.
    Cost: S * K multiply-adds; reads 8 S bytes, writes 4 N K bytes.
    Source: Broder 1997; 32-bit affine family over mixed hashes as datasketch 2.0's affine32.
    """
    op = "sketch"
    check.array(op, "shingles", shingles, np.uint64, (None,))
    check.offsets(op, "offsets", offsets, len(shingles))
    a, b = hash_family(op, num_hashes, seed)
    if out is None:
        out = np.empty((len(offsets) - 1, num_hashes), np.uint32)
    check.array(op, "out", out, np.uint32, (len(offsets) - 1, num_hashes))
    impl = backend.choose(op, impl)
    if impl == "reference":
        sketch_ref.sketch(shingles, offsets, a, b, out)
    else:
        backend.native(op)(shingles, offsets, a, b, out, threads or backend.num_threads(), impl)
    return out


def hash_family(op: str, num_hashes: int, seed: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The hash functions, checked for `op`."""
    if num_hashes < 1:
        raise ValueError(f"{op}: num_hashes must be at least 1, got {num_hashes}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"{op}: seed must fit in 64 bits, got {seed}")
    return family(num_hashes, seed)
