"""What an op must compute and move, from the shapes that a trace holds: the numerators of its achieved rates.

FLOPs: two for each multiply-add of a matrix product. Attention counts the causal triangle whole, also where a document
mask lets it skip some: 2 products forward, 5 backward. The fused loss makes its gradients in the forward op.
Bytes: every input read once and every output written once, for ops that do little else than move memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shape = Sequence[int]
Shapes = Sequence[Shape]

ITEM_BYTES = {"double": 8, "long int": 8, "float": 4, "int": 4, "c10::BFloat16": 2, "c10::Half": 2, "bool": 1}


@dataclass(frozen=True)
class Cost:
    """Of one call."""

    flops: float = 0.0
    bytes: float = 0.0


def _size(shape: Shape) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _product(left: int, right: int) -> Callable[[Shapes], float]:
    """FLOPs of (..., m, k) @ (..., k, n), at these places among the inputs."""

    def flops(shapes: Shapes) -> float:
        return 2.0 * _size(shapes[left]) * shapes[right][-1]

    return flops


def _attention(q: int, k: int, products: int) -> Callable[[Shapes], float]:
    """FLOPs over q (B, T, H, D) and k (B, Tk, Hkv, D)."""

    def flops(shapes: Shapes) -> float:
        B, T, H, D = shapes[q]
        Tk = shapes[k][1]
        pairs = T * (T + 1) / 2 if Tk == T else T * Tk
        return products * 2.0 * B * H * D * pairs

    return flops


def _fused_loss(shapes: Shapes) -> float:
    (N, C), (V, _) = shapes[0], shapes[1]
    return 3 * 2.0 * N * C * V


FLOPS: dict[str, Callable[[Shapes], float]] = {
    "aten::mm": _product(0, 1),
    "aten::addmm": _product(1, 2),
    "aten::bmm": _product(0, 1),
    "aten::baddbmm": _product(1, 2),
    "fasttrain::attention": _attention(0, 1, 2),
    "fasttrain::attention_backward": _attention(1, 2, 5),
    "fasttrain::linear_cross_entropy": _fused_loss,
}

# Op -> how many outputs of the size of its first input it writes.
OUTPUTS = {
    "aten::add": 1,
    "aten::add_": 1,
    "aten::mul": 1,
    "aten::mul_": 1,
    "aten::neg": 1,
    "aten::copy_": 0,  # its first input is the output
    "aten::lerp_": 1,
    "aten::zero_": 0,
    "fasttrain::rms_norm": 1,
    "fasttrain::rms_norm_residual": 2,
    "fasttrain::rms_norm_backward": 1,
    "fasttrain::swiglu": 1,
    "fasttrain::swiglu_backward": 2,
}


def cost(name: str, shapes: Shapes, types: Sequence[str]) -> Cost:
    """Of one call of an op, as far as it is known; zero otherwise. A shape that does not fit is not known either."""
    try:
        if name in FLOPS:
            return Cost(flops=FLOPS[name](shapes))
        if name in OUTPUTS:
            sizes = [_size(s) * ITEM_BYTES.get(t, 0) for s, t in zip(shapes, types) if s]
            return Cost(bytes=float(sum(sizes) + OUTPUTS[name] * sizes[0])) if sizes else Cost()
    except (IndexError, TypeError, ValueError):  # a list of tensors, say
        return Cost()
    return Cost()


def is_counted(name: str) -> bool:
    """Whether the op's whole time, that of the ops inside it too, is set against its cost."""
    return name in FLOPS or name in OUTPUTS
