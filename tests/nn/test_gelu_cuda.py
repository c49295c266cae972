import math

import pytest
import torch

from fasttrain.nn.gelu import gelu
from fasttrain.nn.gelu_cuda import gelu_backward_op, gelu_op
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_gelu import DTYPES, SHAPES, draw, run, terms

pytestmark = ON_CARD


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_against_float64(dtype, shape):
    tensors = to_card(draw(shape, dtype))
    exact = run(tensors, "reference", torch.float64)
    hold_error(run(tensors, "cuda"), run(tensors, "torch"), exact, terms=terms(tensors, exact))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_strides_or_scratch(dtype):
    tensors = to_card(draw((40, 1003), dtype))
    first = run(tensors, "cuda")
    with poisoned_memory():
        others = [run(tensors, "cuda")]
    others.append(run({name: x.mT.contiguous().mT for name, x in tensors.items()}, "cuda"))
    shifted = {name: x.new_empty(x.numel() + 1)[1:].view(x.shape).copy_(x) for name, x in tensors.items()}
    others.append(run(shifted, "cuda"))
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends(dtype):
    """Where x^3 is no number that fp32 has, and at the infinities; beside one chunk of eight, a tail."""
    x = torch.tensor([0.0, -100.0, 100.0, -3e38, 3e38, math.inf, math.nan, 0.0, math.nan], device="cuda").to(dtype)
    x.requires_grad_()
    out = gelu(x, impl="cuda")
    (dx,) = torch.autograd.grad(out.sum(), x)
    assert out[:3].tolist() == [0.0, pytest.approx(0.0, abs=1e-37), 100.0]
    assert torch.equal(out[3:6].cpu(), torch.tensor([0.0, 3e38, math.inf]).to(dtype))
    assert dx[:5].tolist() == [0.5, pytest.approx(0.0, abs=1e-35), 1.0, pytest.approx(0.0, abs=1e-35), 1.0]
    for t in (out, dx):
        assert t[6:].isnan().tolist() == [True, False, True]


def test_opcheck():
    x = torch.randn(3, 5, device="cuda", requires_grad=True)
    torch.library.opcheck(gelu_op.overload, (x,))
    torch.library.opcheck(gelu_backward_op.overload, (torch.randn(3, 5, device="cuda"), x.detach()))
