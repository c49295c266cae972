"""The suffix array of a block of bytes, and the longest common prefixes of neighbours."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import suffix_array_ref

LIMIT = 2**31 - 1


def suffix_array(
    text: npt.NDArray[np.uint8], *, impl: str | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return where the sorted suffixes of the text begin, and what each has in common with the one before.

    Args:
        text: (n,) uint8, n < 2^31.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: sa (n,) int32, lcp (n,) int32 with lcp[0] = 0.
    Raises: TypeError: another dtype. ValueError: a wrong shape, a longer text, or an impl.
    Cost: linear time on one thread; at the most 18 bytes of memory for each byte of text, the text and results
        included (13 on natural text).
    """
    op = "suffix_array"
    check.array(op, "text", text, np.uint8, (None,))
    if len(text) > LIMIT:
        raise ValueError(f"{op}: text must have at most {LIMIT} bytes, got {len(text)}")
    sa, lcp = np.empty(len(text), np.int32), np.empty(len(text), np.int32)
    impl = backend.choose(op, impl)
    if impl == "reference":
        suffix_array_ref.suffix_array(text, sa, lcp)
    else:
        backend.native(op)(text, sa, lcp, impl)
    return sa, lcp
