import math

import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.rope_op import rope_op
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "rope"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [
    (0, 3, 2, 8),
    (1, 0, 2, 8),
    (1, 1, 0, 8),
    (1, 1, 1, 2),
    (2, 3, 1, 6),
    (3, 5, 2, 66),
    (2, 7, 3, 64),
    (1, 9, 5, 128),
]


def draw(shape, dtype, seed=59, rows=1):
    g = torch.Generator().manual_seed(seed)
    x, dout = (torch.randn(shape, generator=g).to(dtype) for _ in range(2))
    where = torch.randint(0, 4000, (rows, shape[1]), generator=g)
    return {"x": x, "dout": dout}, rope_tables(where, shape[-1], 1e4)


def run(tensors, tables, how, dtype=None):
    x, dout = (tensors[name].detach().to(dtype or tensors[name].dtype) for name in ("x", "dout"))
    out = rope(x.requires_grad_(), *(t.to(dtype or t.dtype) for t in tables), impl=how)
    return {"out": out.detach(), "dx": torch.autograd.grad(out, x, dout)[0]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_error_against_float64(how, dtype, shape):
    for rows in {1, shape[0]} - {0}:
        tensors, tables = draw(shape, dtype, rows=rows)
        exact = run(tensors, tables, "reference", torch.float64)
        hold_error(run(tensors, tables, how), run(tensors, tables, "torch"), exact)


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    """Position 1 turns pair 0 by 1 and pair 1 by 1e-2; position 0 turns nothing."""
    x = torch.tensor([[1.0, 3.0, 2.0, 4.0], [1.0, 3.0, 2.0, 4.0]]).view(1, 2, 1, 4).requires_grad_()
    tables = rope_tables(positions(2), 4, theta=1e4)
    out = rope(x, *tables, impl=how)
    pairs = [(1.0, 2.0, 1.0), (3.0, 4.0, 0.01)]
    turned = [(a * math.cos(t) - b * math.sin(t), b * math.cos(t) + a * math.sin(t)) for a, b, t in pairs]
    expected = torch.tensor([[1.0, 3.0, 2.0, 4.0], [turned[0][0], turned[1][0], turned[0][1], turned[1][1]]])
    torch.testing.assert_close(out.detach().view(2, 4), expected)
    out.backward(out.detach())
    torch.testing.assert_close(x.grad, x.detach())  # the gradient turns back


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_threads_strides_or_scratch(how, dtype):
    tensors, tables = draw((3, 301, 3, 66), dtype, rows=3)  # more than two ranges
    first, *others = on_threads((1, 2, 3), lambda: run(tensors, tables, how))
    with poisoned_memory():
        others.append(run(tensors, tables, how))
    strided = {name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in tensors.items()}
    others.append(run(strided, tables, how))
    for other in others:
        assert_same_bits(other, first)
    expanded = {name: x[:1, :1].expand(3, 301, -1, -1) for name, x in tensors.items()}
    assert_same_bits(run(expanded, tables, how), run({n: x.contiguous() for n, x in expanded.items()}, tables, how))


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    tensors, tables = draw((3, 67, 3, 66), torch.bfloat16)
    hold_the_same_bits(lambda: run(tensors, tables, how))


@pytest.mark.parametrize("how", EVERY)
def test_what_is_not_finite_shows_in_its_pair_alone(how):
    tensors, tables = draw((1, 2, 1, 64), torch.float32)
    tensors["x"][0, 1, 0, 5] = math.nan
    bad = run(tensors, tables, how)["out"].isnan().nonzero().tolist()
    assert bad == [[0, 1, 0, 5], [0, 1, 0, 37]]


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    tensors, tables = draw((2, 3, 2, 10), torch.float32)
    torch.library.opcheck(rope_op.overload, (tensors["x"].requires_grad_(), *tables, False, how))


def test_compiles_without_a_break():
    tensors, tables = draw((2, 5, 2, 64), torch.bfloat16)
    x = tensors["x"].requires_grad_()

    def twice(x):
        return rope(rope(x, *tables), *tables)

    results = [f(x) for f in (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, tensors["dout"]) for y in results))


def test_tables_with_a_gradient_get_one():
    tensors, (cos, sin) = draw((1, 3, 2, 8), torch.float32)
    cos.requires_grad_()
    rope(tensors["x"], cos, sin).sum().backward()
    assert cos.grad is not None


X, TABLE = torch.ones(2, 3, 1, 4), torch.ones(1, 3, 1, 4)


@pytest.mark.parametrize(
    ("x", "cos", "how", "words"),
    [
        (torch.ones(2, 3, 4), TABLE, None, r"x must have shape \(B, T, H, D\) with an even D, got \(2, 3, 4\)"),
        (torch.ones(2, 3, 1, 5), TABLE, None, "with an even D"),
        (X, TABLE[..., :2], None, r"cos and sin must have shape \(2, 3, 1, 4\) or \(1, 3, 1, 4\), got \(1, 3, 1, 2\)"),
        (X, TABLE, "mmx", "impl 'mmx' cannot run here; choose from .*torch"),
        (X.double(), TABLE, "scalar", "takes fp32 or bf16 on the CPU"),
    ],
)
def test_refuses(x, cos, how, words):
    with pytest.raises(ValueError, match=words):
        rope(x, cos, cos, impl=how)
