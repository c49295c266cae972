"""Hashes of the normalised words of lines and paragraphs."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import line_hashes_ref

Ints = npt.NDArray[np.int64]


def line_hashes(
    data: npt.NDArray[np.uint8],
    begins: Ints,
    ends: Ints,
    *,
    digits: bool = False,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint64], Ints]:
    """Return a hash of the words of each span of UTF-8 text, and how many words it has.

    Words are those of text.shingle: case folded, marks off, a run of digits one 0, punctuation and symbols separate.

    Shapes: S bytes, M spans.
    Args:
        data: (S,) uint8. begins, ends: (M,) int64, span m is data[begins[m]:ends[m]].
        digits: spans that differ in their ASCII digits have different hashes.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: hashes (M,) uint64, 0 where there are no words; words (M,) int64.
    Raises: TypeError: another dtype. ValueError: a wrong shape, a span outside the data, or an impl.
    Cost: one pass over the spans.
    """
    op = "line_hashes"
    check.array(op, "data", data, np.uint8, (None,))
    check.array(op, "begins", begins, np.int64, (None,))
    check.array(op, "ends", ends, np.int64, (len(begins),))
    if len(begins) and (begins.min() < 0 or (ends < begins).any() or ends.max() > len(data)):
        raise ValueError(f"{op}: spans must lie in the {len(data)} bytes of data and not end before they begin")
    hashes, words = np.empty(len(begins), np.uint64), np.empty(len(begins), np.int64)
    impl = backend.choose(op, impl)
    if impl == "reference":
        line_hashes_ref.line_hashes(data, begins, ends, hashes, words, digits)
    else:
        backend.native(op)(data, begins, ends, hashes, words, digits, threads or backend.num_threads(), impl)
    return hashes, words
