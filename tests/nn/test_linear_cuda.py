import pytest
import torch

from fasttrain.nn.linear import linear
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_linear import SHAPES, draw, plain, run

pytestmark = ON_CARD


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("outs", "bias"), [((5,), False), ((5,), True), ((64, 32, 1), False), ((8, 3), True)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_error_against_float64(shape, outs, bias, precision):
    tensors, num = to_card(draw(shape, outs, bias)), len(outs)
    exact = run(tensors, plain, num, torch.float64)
    got = run(tensors, linear, num, precision)
    hold_error(got, run(tensors, plain, num, precision), exact)
    with poisoned_memory():
        assert_same_bits(run(tensors, linear, num, precision), got)


def test_weight_gradients_are_added_up_and_kept_in_fp32():
    tensors = to_card(draw((40, 96), (64, 32), False))
    got = run(tensors, linear, 2, torch.bfloat16)
    rows = tensors["x"].bfloat16().double()
    for i in range(2):
        exact = tensors[f"dy{i}"].bfloat16().double().T @ rows
        off = (got[f"dweight{i}"].double() - exact).abs().max()
        assert off <= 40 * torch.finfo(torch.float32).eps * exact.abs().max(), "40 additions, each rounded once"
