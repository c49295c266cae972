import math

import pytest
import torch

from fasttrain.nn.rope import rope
from fasttrain.nn.rope_cuda import rope_op
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_rope import DTYPES, NATIVE, SHAPES, draw, run

pytestmark = ON_CARD
# Whole chunks of eight pairs: one head, heads of one thread and more, more items than a block has threads.
WIDE = [
    (2, 3, 1, 16),
    (1, 5, 4, 32),
    (2, 67, 5, 64),
    (3, 33, 12, 64),
    (1, 300, 9, 128),
    (1, 2, 257, 128),
    (1, 3, 2, 80),
]


@pytest.mark.parametrize("shape", [*SHAPES, *WIDE])
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_against_float64(dtype, shape):
    for rows in {1, shape[0]} - {0}:
        tensors, tables = (to_card(part) for part in draw(shape, dtype, rows=rows))
        exact = run(tensors, tables, "reference", torch.float64)
        hold_error(run(tensors, tables, "cuda"), run(tensors, tables, "torch"), exact)


@pytest.mark.skipif(NATIVE[:1] in ((), ("scalar",)), reason="the portable form rounds twice more")
@pytest.mark.parametrize("shape", [*SHAPES, *WIDE])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_of_the_cpu(dtype, shape):
    tensors, tables = draw(shape, dtype, rows=max(1, shape[0]))
    got = run(to_card(tensors), to_card(tables), "cuda")
    assert_same_bits({name: x.cpu() for name, x in got.items()}, run(tensors, tables, NATIVE[0]))


@pytest.mark.parametrize("shape", [(3, 301, 3, 66), (3, 301, 5, 64)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_strides_or_scratch(dtype, shape):
    tensors, tables = (to_card(part) for part in draw(shape, dtype, rows=3))
    first = run(tensors, tables, "cuda")
    with poisoned_memory():
        others = [run(tensors, tables, "cuda")]
    strided = {name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in tensors.items()}
    others.append(run(strided, tables, "cuda"))
    shifted = {name: x.new_empty(x.numel() + 1)[1:].view(x.shape).copy_(x) for name, x in tensors.items()}
    others.append(run(shifted, tables, "cuda"))
    for other in others:
        assert_same_bits(other, first)
    expanded = {name: x[:1, :1].expand(3, 301, -1, -1) for name, x in tensors.items()}
    whole = {name: x.contiguous() for name, x in expanded.items()}
    assert_same_bits(run(expanded, tables, "cuda"), run(whole, tables, "cuda"))


@pytest.mark.parametrize("D", [64, 66])
def test_what_is_not_finite_shows_in_its_pair_alone(D):
    tensors, tables = (to_card(part) for part in draw((1, 2, 1, D), torch.float32))
    tensors["x"][0, 1, 0, 5] = math.nan
    bad = run(tensors, tables, "cuda")["out"].isnan().nonzero().tolist()
    assert bad == [[0, 1, 0, 5], [0, 1, 0, 5 + D // 2]]


def test_tables_with_a_gradient_get_one():
    tensors, (cos, sin) = (to_card(part) for part in draw((1, 3, 2, 16), torch.float32))
    cos.requires_grad_()
    rope(tensors["x"], cos, sin).sum().backward()
    assert cos.grad is not None


def test_opcheck():
    tensors, tables = (to_card(part) for part in draw((2, 3, 2, 16), torch.float32))
    torch.library.opcheck(rope_op.overload, (tensors["x"].requires_grad_(), *tables, False))


def test_compiles_without_a_break():
    tensors, tables = (to_card(part) for part in draw((2, 5, 2, 64), torch.bfloat16))
    x = tensors["x"].requires_grad_()

    def twice(x):
        return rope(rope(x, *tables), *tables)

    results = [f(x) for f in (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, tensors["dout"]) for y in results))
