"""128-bit hashes of texts: document identity and exact deduplication."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text import hash128_ref
from fasttrain.text.columns import TextColumn


def hash128(
    column: TextColumn,
    *,
    seed: int = 0,
    out: npt.NDArray[np.uint64] | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.uint64]:
    """Return MurmurHash3_x64_128 of each text, little-endian; `.view(np.uint8)` gives the 16 bytes of a doc_id.

    Shapes: N texts.
    Args:
        column: N texts.
        seed: 32-bit seed.
        out: (N, 2) uint64, filled in place; allocated when None.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: `out`.
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, or an impl.
    Cost: reads each byte once, 16 bytes a step.
    Source: Appleby, MurmurHash3 (public domain).
    """
    op = "hash128"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"{op}: seed must fit in 32 bits, got {seed}")
    if out is None:
        out = np.empty((len(column), 2), np.uint64)
    check.array(op, "out", out, np.uint64, (len(column), 2))
    impl = backend.choose(op, impl)
    if impl == "reference":
        hash128_ref.hash128(column, seed, out)
    else:
        backend.native(op)(column.data, column.offsets, out, seed, threads or backend.num_threads(), impl)
    return out
