"""Sum of squares in fp64 with one order of additions: every other implementation must equal this one bit for bit.

Within a block of 65,536 values, lane j adds x[i]^2 for i = j (mod 32) in order; then the lanes are added in order.
"""

import numpy as np
import numpy.typing as npt

BLOCK, LANES = 1 << 16, 32


def sum_squares(x: npt.NDArray[np.float32], out: npt.NDArray[np.float64]) -> None:
    for p in range(len(out)):
        squares = np.square(x[p * BLOCK : (p + 1) * BLOCK], dtype=np.float64)
        lanes = np.zeros(LANES)
        for i in range(0, len(squares), LANES):
            part = squares[i : i + LANES]
            lanes[: len(part)] += part
        out[p] = sum(lanes.tolist())
