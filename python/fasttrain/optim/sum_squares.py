"""Sum of squares of a flat array in fp64: what global gradient norms are made of."""

import math

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.optim import sum_squares_ref


def sum_squares(x: npt.NDArray[np.float32], *, threads: int | None = None, impl: str | None = None) -> float:
    """Return the sum of x[i]^2 in fp64: the same bits for every implementation and number of threads.

    Args:
        x: (N,) float32.
        threads: at most so many; backend.num_threads() when None.
    Returns: the sum; inf or nan when a value is. An empty array gives 0.
    Raises: TypeError: another dtype. ValueError: a wrong shape, order or impl.
    Cost: reads 4 N bytes.
    """
    op = "sum_squares"
    check.array(op, "x", x, np.float32, (None,))
    blocks = np.empty(-(-len(x) // sum_squares_ref.BLOCK), np.float64)
    impl = backend.choose(op, impl)
    if impl == "reference":
        sum_squares_ref.sum_squares(x, blocks)
    else:
        backend.native(op)(x, blocks, threads or backend.num_threads(), impl)
    # fsum is exact, so blocks may be added in any order; it refuses inf - inf, which squares cannot give
    return math.fsum(blocks.tolist())
