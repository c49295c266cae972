"""Exact Jaccard similarity and containment of pairs of sets: what a MinHash collision only suggests."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.dedup import jaccard_ref

Sets = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]
"""Elements (S,), each set sorted and without repeats, and offsets (N+1,): what text.shingle(sets=True) returns."""


def jaccard(
    a: Sets, b: Sets, pairs: npt.NDArray[np.int64], *, threads: int | None = None, impl: str | None = None
) -> npt.NDArray[np.float64]:
    """Return |x and y| / |x or y| for each pair of a set x of `a` and a set y of `b`; 0 when both are empty.

    As `common`, whose quotient it is: (P,) float64, one rounding away from the exact one.
    """
    both = common(a, b, pairs, threads=threads, impl=impl)
    union = np.diff(a[1])[pairs[:, 0]] + np.diff(b[1])[pairs[:, 1]] - both
    return both / np.maximum(union, 1)


def containment(
    a: Sets, b: Sets, pairs: npt.NDArray[np.int64], *, threads: int | None = None, impl: str | None = None
) -> npt.NDArray[np.float64]:
    """Return |x and y| / |x|, the share of x that y holds, for each pair as in `jaccard`; 0 when x is empty."""
    both = common(a, b, pairs, threads=threads, impl=impl)
    return both / np.maximum(np.diff(a[1])[pairs[:, 0]], 1)


def common(
    a: Sets, b: Sets, pairs: npt.NDArray[np.int64], *, threads: int | None = None, impl: str | None = None
) -> npt.NDArray[np.int64]:
    """Return |x and y|, how many elements two sets share, for each pair of a set x of `a` and a set y of `b`.

    Shapes: P pairs.
    Args:
        a, b: sets; `a` and `b` may be the same.
        pairs: (P, 2) int64, numbers of a set of `a` and a set of `b`.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (P,) int64.
    Raises: TypeError: another dtype. ValueError: a wrong shape, a number that names no set, or an impl. That the sets
        are sorted is not checked: it would cost as much as the op.
    Cost: one merge a pair, about 1 ns an element.
    """
    op = "jaccard"
    for name, (elements, offsets) in (("a", a), ("b", b)):
        check.array(op, name, elements, np.uint64, (None,))
        check.offsets(op, f"{name}_offsets", offsets, len(elements))
    check.array(op, "pairs", pairs, np.int64, (None, 2))
    limits = (len(a[1]) - 1, len(b[1]) - 1)
    if len(pairs) and (pairs.min() < 0 or (pairs.max(axis=0) >= limits).any()):
        raise ValueError(f"{op}: pairs must name sets below {limits}, got up to {pairs.max(axis=0).tolist()}")
    out = np.empty(len(pairs), np.int64)
    impl = backend.choose(op, impl)
    if impl == "reference":
        jaccard_ref.jaccard(*a, *b, pairs, out)
    else:
        backend.native(op)(*a, *b, pairs, out, threads or backend.num_threads(), impl)
    return out
