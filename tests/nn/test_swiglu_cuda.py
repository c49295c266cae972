import math

import pytest
import torch

from fasttrain.nn.swiglu import swiglu
from fasttrain.nn.swiglu_cuda import swiglu_backward_op, swiglu_op
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_swiglu import DTYPES, SHAPES, draw, run

pytestmark = ON_CARD


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_against_float64(dtype, shape):
    tensors = to_card(draw(shape, dtype))
    exact = run(tensors, "reference", torch.float64)
    terms = {"dgate": tensors["dout"].double() * tensors["up"] * tensors["gate"].double().sigmoid()}
    hold_error(run(tensors, "cuda"), run(tensors, "torch"), exact, terms=terms)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_strides_or_scratch(dtype):
    tensors = to_card(draw((40, 1003), dtype))
    first = run(tensors, "cuda")
    with poisoned_memory():
        others = [run(tensors, "cuda")]
    others.append(run({name: x.mT.contiguous().mT for name, x in tensors.items()}, "cuda"))
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.parametrize("columns", [1, 8, 67, 1024])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_lie_side_by_side(dtype, columns):
    tensors = to_card(draw((3, 5, columns), dtype))
    gate, up = (tensors[name].requires_grad_() for name in ("gate", "up"))
    dgate, dup = torch.autograd.grad(swiglu(gate, up, impl="cuda"), (gate, up), tensors["dout"])
    assert dgate.untyped_storage().data_ptr() == dup.untyped_storage().data_ptr()
    assert dup.storage_offset() == dgate.storage_offset() + columns
    flat = swiglu_backward_op(*(tensors[name].detach().reshape(-1) for name in ("dout", "gate", "up")))
    assert torch.equal(torch.cat([dgate.reshape(-1), dup.reshape(-1)]), flat)


def test_the_ends():
    gate = torch.tensor([0.0, -100.0, 100.0, -math.inf, math.inf, math.nan], device="cuda")
    out = swiglu(gate, torch.ones_like(gate), impl="cuda").cpu()
    assert out[:3].tolist() == [0.0, pytest.approx(0.0, abs=1e-40), 100.0]
    assert out[3:].isnan().tolist() == [True, False, True]


def test_opcheck():
    gate, up = (torch.randn(3, 5, device="cuda", requires_grad=True) for _ in range(2))
    torch.library.opcheck(swiglu_op.overload, (gate, up))
    torch.library.opcheck(swiglu_backward_op.overload, (gate.detach(), gate.detach(), up.detach()))
