"""Anchors of texts: every window of some length holds one, at a place that its content decides."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import winnow_ref
from fasttrain.text.columns import TextColumn

Ints = npt.NDArray[np.int64]


def winnow(column: TextColumn, k: int, w: int, *, impl: str | None = None) -> tuple[npt.NDArray[np.uint64], Ints, Ints]:
    """Return the anchors of each text: substrings of k bytes whose hash is the smallest of w neighbouring ones.

    Any w + k - 1 bytes of a text hold an anchor, and equal strings of that length hold it at the same place.

    Args:
        column: N texts. k, w: at least 1.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: hashes (A,) uint64, texts (A,) int64 ascending, first bytes in the text (A,) int64, ascending in a text.
    Raises: TypeError: another dtype. ValueError: a wrong shape, k or w, or an impl.
    Cost: about 2 S / (w + 1) anchors of S bytes; scratch of 8 bytes for each byte of the longest text.
    """
    op = "winnow"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if k < 1 or w < 1:
        raise ValueError(f"{op}: k and w must be at least 1, got {k} and {w}")
    impl = backend.choose(op, impl)
    if impl == "reference":
        found = winnow_ref.winnow(column, k, w)
        columns = list(zip(*found)) or [(), (), ()]
        return np.array(columns[0], np.uint64), np.array(columns[1], np.int64), np.array(columns[2], np.int64)
    capacity = 4 * column.num_bytes // (w + 1) + 64
    while True:
        out = np.empty(capacity, np.uint64), np.empty(capacity, np.int64), np.empty(capacity, np.int64)
        count = backend.native(op)(column.data, column.offsets, k, w, *out, impl)
        if count <= capacity:
            return out[0][:count], out[1][:count], out[2][:count]
        capacity = count  # runs of one byte choose every place
