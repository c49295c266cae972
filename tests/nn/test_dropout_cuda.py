import pytest
import torch

from fasttrain.nn.dropout import DropoutKey, dropout
from fasttrain.nn.dropout_cuda import dropout_op, on_card
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, poisoned_memory
from nn.test_dropout import DTYPES, KEY, SHAPES, draw, run

pytestmark = ON_CARD


def back(results):
    return {name: x.cpu() for name, x in results.items()}


@pytest.mark.parametrize("shape", [*SHAPES, (3, 70, 768)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1e-3, 0.3, 0.97])
def test_the_bits_of_the_reference(p, dtype, shape):
    tensors = draw(shape, dtype)
    assert_same_bits(back(run(to_card(tensors), "cuda", p)), run(tensors, "reference", p))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_strides_or_scratch(dtype):
    tensors = to_card(draw((3, 40, 72), dtype))
    first = run(tensors, "cuda")
    with poisoned_memory():
        others = [run(tensors, "cuda")]
    others.append(run({name: x.mT.contiguous().mT for name, x in tensors.items()}, "cuda"))
    for other in others:
        assert_same_bits(other, first)


def test_fp16_has_the_mask_of_the_others():
    x = torch.ones(3, 5, 64, device="cuda")
    whole, half = (dropout(y, 0.5, KEY, 0, "attn") for y in (x, x.half()))
    assert half.dtype == torch.float16
    assert torch.equal(half.float(), whole)


def test_what_is_dropped_is_zero_whatever_it_was():
    x = torch.full((1, 1000), torch.nan, device="cuda")
    y = dropout(x, 0.5, DropoutKey(seed=1, step=0, rows=(0,)), 0, "ffn")
    assert y[0].isnan().any()
    assert (y[0] == 0).any()
    assert (y[0].isnan() | (y[0] == 0)).all()


def test_opcheck():
    x = torch.randn(2, 70, device="cuda", requires_grad=True)
    torch.library.opcheck(dropout_op.overload, (x, on_card((3, 5), x.device), -7, 2, 1, 0.3))
