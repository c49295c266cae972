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


def leeway(tensors, num, precision):
    """Sizes of which one rounding is by how much two right answers may differ, for inputs so small that nothing evens
    out: of a single value torch's error may be 0 by luck. None for others.

    Additions in fp32 in another order: sqrt(n) roundings of the n terms (Higham & Mary 2019, doi:10.1137/18M1226312).
    In bf16 each product is rounded, by ours, by theirs or by both, and that may undo the roundings of the operands.
    """
    if tensors["x"].numel() > 32:
        return None
    t, is_bf16, sizes = {name: x.double() for name, x in tensors.items()}, precision == torch.bfloat16, {}
    fp32, half = torch.finfo(torch.float32).eps, torch.finfo(torch.bfloat16).eps

    def put(name, terms, products, additions, is_half=False):
        roundings = fp32 * additions**0.5 * terms + (2 * half * products if is_bf16 else 0.0)
        sizes[name] = roundings / (half if is_half else fp32)

    x, terms, products = t["x"], torch.zeros_like(t["x"]), torch.zeros_like(t["x"])
    for i in range(num):
        weight, dy = t[f"weight{i}"], t[f"dy{i}"]
        bias = t.get(f"bias{i}", torch.zeros(1, device=x.device).double())
        y = (x @ weight.T).abs() + bias.abs()
        put(f"y{i}", x.abs() @ weight.T.abs() + bias.abs(), y, x.shape[1] + 1, is_bf16)
        put(f"dweight{i}", dy.T.abs() @ x.abs(), (dy.T @ x).abs(), len(x))
        put(f"dbias{i}", dy.abs().sum(0), dy.sum(0).abs(), len(x))
        terms += dy.abs() @ weight.abs()
        products += (dy @ weight).abs()
    put("dx", terms, products, sum(t[f"dy{i}"].shape[1] for i in range(num)))
    return sizes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("outs", "bias"), [((5,), False), ((5,), True), ((64, 32, 1), False), ((8, 3), True)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_error_against_float64(shape, outs, bias, precision):
    tensors, num = to_card(draw(shape, outs, bias)), len(outs)
    exact = run(tensors, plain, num, torch.float64)
    got = run(tensors, linear, num, precision)
    hold_error(got, run(tensors, plain, num, precision), exact, terms=leeway(tensors, num, precision))
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


@pytest.mark.parametrize("shape", [(40, 96), (2, 3, 64), (1, 1)])
def test_gradients_that_lie_side_by_side_are_multiplied_where_they_are(shape):
    """As swiglu's do: the same bits, and no copy of them; what only looks like it is copied."""
    tensors = to_card(draw(shape, (64, 64), False))
    weights = [tensors[f"weight{i}"].bfloat16().requires_grad_() for i in range(2)]
    x = tensors["x"].bfloat16().requires_grad_()
    apart = [tensors[f"dy{i}"].bfloat16() for i in range(2)]
    both = torch.cat(apart, -1)
    swapped = torch.cat(apart[::-1], -1)
    gap = torch.cat([apart[0], apart[0], apart[1]], -1)
    found = []
    for dys in (apart, both.chunk(2, -1), swapped.chunk(2, -1)[::-1], (gap[..., :64], gap[..., 128:])):
        ys = linear(x, weights, [None, None])
        with torch.profiler.profile(acc_events=True) as profile:
            found.append(torch.autograd.grad(ys, [x, *weights], dys))
        copies = sum(event.count for event in profile.key_averages() if event.key == "aten::cat")
        assert copies == (0 if dys[0].data_ptr() == both.data_ptr() else 1)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


def test_a_copy_in_bf16_is_made_once_and_kept():
    """Forward's and backward's products take one copy; of weights that need none there is none."""
    for dtype, copies in ((torch.float32, 2), (torch.bfloat16, 0)):
        weights = [torch.randn(64, 96, device="cuda", dtype=dtype, requires_grad=True) for _ in range(2)]
        x = torch.randn(40, 96, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        kept = set()

        def pack(tensor, kept=kept):
            kept.add((tensor.dtype, tuple(tensor.shape)))
            return tensor

        with torch.autocast("cuda", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            ys = linear(x, weights, [None, None])
        assert ((torch.bfloat16, (128, 96)) in kept) == (copies > 0)
        both = torch.randn(40, 128, device="cuda", dtype=torch.bfloat16)
        with torch.profiler.profile(acc_events=True) as profile:
            torch.autograd.grad(ys, [x, *weights], both.chunk(2, -1))
        made = sum(event.count for event in profile.key_averages() if event.key == "aten::copy_")
        assert made == (0 if copies else 4), "stacked for dx, and each gradient out of the stacked one"
