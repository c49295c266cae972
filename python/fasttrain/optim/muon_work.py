"""Which parameters are Muon's, what making their updates orthogonal costs, and which rank does which of it."""

from collections.abc import Sequence

from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon_ref import STEPS


def is_muons(optim: OptimConfig, name: str, shape: tuple[int, ...]) -> bool:
    """Whether Muon updates a parameter: then it has momentum (`optim.m.*`) and no mean square (`optim.v.*`)."""
    return optim.name == "muon" and name.startswith("blocks.") and len(shape) == 2


def multiply_adds(shape: tuple[int, ...]) -> int:
    """Of one step of Newton-Schulz: Y Y^T, its square, and their sum times Y."""
    small, large = sorted(shape)
    return 2 * small**2 * large + small**3


def flops(shape: tuple[int, ...]) -> int:
    """FLOPs of the products that make a matrix orthogonal (`muon.orthogonalize`), two a multiply-add."""
    return 2 * STEPS * multiply_adds(shape)


def assign(shapes: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """Which matrices each of `size` ranks makes orthogonal, the dearest first: a pure function of the shapes.

    The dearest that is left goes to the rank that has the least (Graham 1969: at most 4/3 of the best there is).
    """
    owned: list[list[int]] = [[] for _ in range(size)]
    work = [0] * size
    for i in sorted(range(len(shapes)), key=lambda i: (-multiply_adds(shapes[i]), i)):
        rank = work.index(min(work))
        owned[rank].append(i)
        work[rank] += multiply_adds(shapes[i])
    return owned
