"""What an op must compute and move, from the shapes that a trace holds: the numerators of its achieved rates.

FLOPs: two for each multiply-add of a matrix product. Attention counts the causal triangle whole, of which a document
mask lets it skip a part that no shape tells: 2 products forward, 5 backward. The fused loss makes its gradients in the
forward op.
Bytes: every input read once and every output written once.
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


@dataclass(frozen=True)
class _Call:
    shapes: Shapes
    types: Sequence[str]
    numbers: Sequence[str]  # arguments that are no tensors, as a trace writes them

    def size(self, i: int) -> int:
        """Values of input `i`; none where it is no tensor."""
        return _size(self.shapes[i]) if self.shapes[i] else 0

    def bytes(self, i: int) -> int:
        """Bytes of input `i`."""
        return self.size(i) * ITEM_BYTES.get(self.types[i], 0)

    def inputs(self) -> int:
        """Bytes of all inputs."""
        return sum(self.bytes(i) for i in range(min(len(self.shapes), len(self.types))))


def _size(shape: Shape) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _product(left: int, right: int, *, is_added: bool = False) -> Callable[[_Call], Cost]:
    """(..., m, k) @ (..., k, n), at these places among the inputs; `is_added`: to an input, which is before them."""

    def cost(call: _Call) -> Cost:
        n = call.shapes[right][-1]
        out = call.size(left) // max(call.shapes[left][-1], 1) * n * ITEM_BYTES.get(call.types[left], 0)
        read = call.bytes(left) + call.bytes(right) + (call.bytes(0) if is_added else 0)
        return Cost(2.0 * call.size(left) * n, read + out)

    return cost


def _attention(q: int, k: int, products: int, outputs: tuple[int, ...]) -> Callable[[_Call], Cost]:
    """Over q (B, T, H, D) and k (B, Tk, Hkv, D); `outputs` are as large as these inputs."""

    def cost(call: _Call) -> Cost:
        B, T, H, D = call.shapes[q]
        Tk = call.shapes[k][1]
        pairs = T * (T + 1) / 2 if Tk == T else T * Tk
        return Cost(products * 2.0 * B * H * D * pairs, call.inputs() + sum(call.bytes(i) for i in outputs))

    return cost


def _fused_loss(call: _Call) -> Cost:
    (N, C), (V, _) = call.shapes[0], call.shapes[1]
    gradients = call.bytes(0) + 4 * V * C  # dweight is fp32
    return Cost(3 * 2.0 * N * C * V, call.inputs() + gradients)


def _moves(*outputs: int) -> Callable[[_Call], Cost]:
    """An op that reads its inputs and writes an output as large as each of these inputs."""
    return lambda call: Cost(bytes=call.inputs() + sum(call.bytes(i) for i in outputs))


def _embedding(call: _Call) -> Cost:
    ids, (_, C) = call.size(0), call.shapes[1]
    return Cost(bytes=call.bytes(0) + 2 * ids * C * ITEM_BYTES.get(call.types[1], 0))


def _embedding_backward(call: _Call) -> Cost:
    written = int(call.numbers[2]) * call.shapes[0][-1] * ITEM_BYTES.get(call.types[0], 0)
    return Cost(bytes=call.inputs() + written)


def _out_of_place(call: _Call) -> Cost:
    """A copy into its first input, or a value into all of it: what is there before is not read."""
    return Cost(bytes=call.inputs())


COSTS: dict[str, Callable[[_Call], Cost]] = {
    "aten::mm": _product(0, 1),
    "aten::addmm": _product(1, 2, is_added=True),
    "aten::bmm": _product(0, 1),
    "aten::baddbmm": _product(1, 2, is_added=True),
    "aten::add": _moves(0),
    "aten::add_": _moves(0),
    "aten::sub": _moves(0),
    "aten::mul": _moves(0),
    "aten::mul_": _moves(0),
    "aten::neg": _moves(0),
    "aten::lerp_": _moves(0),
    "aten::gelu": _moves(0),
    "aten::gelu_backward": _moves(1),
    "aten::copy_": _out_of_place,
    "aten::zero_": _out_of_place,
    "aten::fill_": _out_of_place,
    "fasttrain::attention": _attention(0, 1, 2, (0,)),
    "fasttrain::attention_backward": _attention(1, 2, 5, (1, 2, 3)),
    "fasttrain::linear_cross_entropy": _fused_loss,
    "fasttrain::rms_norm": _moves(0),
    "fasttrain::rms_norm_residual": _moves(1, 1),
    "fasttrain::rms_norm_backward": _moves(2),
    "fasttrain::swiglu": _moves(0),
    "fasttrain::swiglu_backward": _moves(1, 2),
    "fasttrain::gelu": _moves(0),
    "fasttrain::gelu_backward": _moves(1),
    "fasttrain::rope": _moves(0),
    "fasttrain::embedding": _embedding,
    "fasttrain::embedding_backward": _embedding_backward,
    "fasttrain::dropout": _moves(0),
}


def cost(name: str, shapes: Shapes, types: Sequence[str], numbers: Sequence[str] = ()) -> Cost:
    """Of one call of an op, as far as it is known; zero otherwise. A shape that does not fit is not known either."""
    known = COSTS.get(name)
    if known is None:
        return Cost()
    try:
        return known(_Call(shapes, types, numbers))
    except (IndexError, TypeError, ValueError):  # a list of tensors, say
        return Cost()


def is_counted(name: str) -> bool:
    """Whether the op's whole time, that of the ops inside it too, is set against its cost."""
    return name in COSTS
