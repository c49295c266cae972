import math

import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn.rms_norm import RMSNorm, rms_norm, rms_norm_residual
from fasttrain.nn.rms_norm_op import rms_norm_backward_op, rms_norm_op, rms_norm_residual_op
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "rms_norm"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
F32, BF16 = torch.float32, torch.bfloat16
DTYPES = {  # x, residual
    "fp32 alone": (F32, None),
    "bf16 alone": (BF16, None),
    "fp32": (F32, F32),
    "bf16": (BF16, BF16),
    "bf16 on an fp32 stream": (BF16, F32),
    "fp32 on a bf16 stream": (F32, BF16),
}
SHAPES = [(5,), (0, 5), (3, 0), (1, 1), (3, 7), (2, 3, 64), (65, 67), (130, 257), (2, 100, 768)]


def draw(shape, dtypes, seed=31):
    g = torch.Generator().manual_seed(seed)
    x, residual, dy, dr = (torch.randn(shape, generator=g) for _ in range(4))
    x_dtype, residual_dtype = DTYPES[dtypes]
    stream = x_dtype if residual_dtype is None else torch.promote_types(x_dtype, residual_dtype)
    return {
        "x": x.to(x_dtype),
        "residual": None if residual_dtype is None else residual.to(residual_dtype),
        "weight": 1 + 0.1 * torch.randn(shape[-1], generator=g),
        "dy": dy.to(stream),
        "dr": dr.to(stream),
    }


def run(tensors, impl, dtype=None):
    """Outputs and gradients, of a sum where there is a residual."""
    t = {name: None if x is None else x.detach().to(dtype or x.dtype) for name, x in tensors.items()}
    leaves = {name: t[name].requires_grad_() for name in ("x", "residual", "weight") if t[name] is not None}
    if t["residual"] is None:
        y = rms_norm(t["x"], t["weight"], 1e-5, impl=impl)
        gradients = torch.autograd.grad(y, list(leaves.values()), t["dy"])
        return {"y": y.detach(), **dict(zip([f"d{name}" for name in leaves], gradients))}
    y, r = rms_norm_residual(t["x"], t["residual"], t["weight"], 1e-5, impl=impl)
    gradients = torch.autograd.grad((y, r), list(leaves.values()), (t["dy"], t["dr"]))
    return {"y": y.detach(), "r": r.detach(), **dict(zip([f"d{name}" for name in leaves], gradients))}


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("how", EVERY)
def test_a_result_in_another_dtype_is_rounded_behind_the_norm(how, dtypes):
    t = draw((5, 67), dtypes)
    if t["residual"] is None:
        x, weight = t["x"].requires_grad_(), t["weight"]
        y, expected = rms_norm(x, weight, 1e-5, impl=how, dtype=BF16), rms_norm(x, weight, 1e-5, impl=how)
        assert torch.equal(rms_norm(x.detach(), weight, 1e-5, impl=how, dtype=BF16), expected.to(BF16))
    else:
        x, summands = t["x"].requires_grad_(), (t["residual"], t["weight"])
        y, r = rms_norm_residual(x, *summands, 1e-5, impl=how, dtype=BF16)
        expected, other = rms_norm_residual(x, *summands, 1e-5, impl=how)
        assert torch.equal(r, other)
        assert torch.equal(rms_norm_residual(x.detach(), *summands, 1e-5, impl=how, dtype=BF16)[0], expected.to(BF16))
    assert y.dtype == BF16
    assert torch.equal(y, expected.to(BF16))
    dy = t["dy"].to(BF16)
    (got,), (dx,) = torch.autograd.grad(y, x, dy), torch.autograd.grad(expected.to(BF16), x, dy)
    assert torch.equal(got, dx)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_error_against_float64(how, dtypes, shape):
    tensors = draw(shape, dtypes)
    got, exact = run(tensors, how), run(tensors, "reference", torch.float64)
    # dx is the part of dy weight / rms(r) across r, which is nothing where C = 1.
    r = tensors["x"].double() + (0 if tensors["residual"] is None else tensors["residual"].double())
    along = tensors["dy"].double() * tensors["weight"] / (r.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    hold_error(got, run(tensors, "torch"), exact, terms={"dx": along, "dresidual": along})


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    """3 + 0 and 0 + 4 have the mean square 12.5; of the gradient what lies along r is taken out."""
    x, residual = torch.tensor([3.0, 0.0], requires_grad=True), torch.tensor([0.0, 4.0], requires_grad=True)
    weight = torch.ones(2, requires_grad=True)
    y, r = rms_norm_residual(x, residual, weight, 0.0, impl=how)
    root = math.sqrt(12.5)
    torch.testing.assert_close(y, torch.tensor([3.0, 4.0]) / root)
    assert r.tolist() == [3.0, 4.0]
    y.backward(torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(x.grad, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(weight.grad, torch.tensor([9.0, 16.0]) / root)
    assert torch.equal(x.grad, residual.grad)


@pytest.mark.parametrize("how", EVERY)
def test_the_sum_alone_may_be_used(how):
    t = draw((3, 7), "bf16 on an fp32 stream")
    x, residual = t["x"].requires_grad_(), t["residual"].requires_grad_()
    _, r = rms_norm_residual(x, residual, t["weight"].requires_grad_(), 1e-5, impl=how)
    r.backward(t["dr"])
    assert torch.equal(residual.grad, t["dr"])
    assert torch.equal(x.grad, t["dr"].bfloat16())


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_threads_strides_or_scratch(how, dtypes):
    tensors = draw((3, 70, 67), dtypes)
    first, *others = on_threads((1, 2, 3), lambda: run(tensors, how))
    with poisoned_memory():
        others.append(run(tensors, how))
    views = {name: x if x is None or x.ndim < 2 else x.mT.contiguous().mT for name, x in tensors.items()}
    assert not views["x"].is_contiguous()
    for other in (*others, run(views, how)):
        assert_same_bits(other, first)


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_broadcast_inputs_and_gradients(how, dtypes):
    """Stride 0, as expand and .sum().backward() give."""
    tensors = draw((1, 1, 67), dtypes)
    tensors |= {name: tensors[name][..., :1] for name in ("dy", "dr")}
    wide = {name: x if x is None or x.ndim < 2 else x.expand(3, 5, 67) for name, x in tensors.items()}
    plain = {name: None if x is None else x.contiguous() for name, x in wide.items()}
    assert wide["dy"].stride() == (0, 0, 0)
    assert_same_bits(run(wide, how), run(plain, how))


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    tensors = draw((300, 67), "bf16 on an fp32 stream")
    hold_the_same_bits(lambda: run(tensors, how))


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_its_row(how, value):
    tensors = draw((3, 37), "bf16")
    tensors["x"][1, 36] = value
    got = run(tensors, how)
    assert got["y"][1].isnan().any()
    assert got["dx"][1].isnan().any()
    assert got["y"][[0, 2]].isfinite().all()
    assert got["dx"][[0, 2]].isfinite().all()


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    x, residual = torch.randn(5, 9, dtype=BF16, requires_grad=True), torch.randn(5, 9, requires_grad=True)
    weight = torch.randn(9, requires_grad=True)
    torch.library.opcheck(rms_norm_op.overload, (x, weight, 1e-5, how))
    torch.library.opcheck(rms_norm_residual_op.overload, (x, residual, weight, 1e-5, how))
    dy, dr, r = torch.randn(3, 5, 9).unbind()
    for x_dtype in (F32, BF16):
        torch.library.opcheck(rms_norm_backward_op.overload, (dy, dr, r, weight.detach(), torch.rand(5), x_dtype, how))


def test_compiles_without_a_break():
    t = draw((2, 3, 64), "bf16 on an fp32 stream")
    norm = RMSNorm(64)

    def block(x, residual):
        y, r = norm.of_sum(x, residual)
        return norm(y + r)

    leaves = [t[name].requires_grad_() for name in ("x", "residual")]
    results = [f(*leaves) for f in (block, torch.compile(block, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, t["dy"]) for y in results))


@pytest.mark.parametrize(
    ("x", "keys", "words"),
    [
        (torch.ones(2), {"weight": torch.ones(3)}, r"weight must have shape \(2,\), got \(3,\)"),
        (torch.ones(2), {"residual": torch.ones(1, 2)}, r"residual must have shape \(2,\), got \(1, 2\)"),
        (torch.ones(2), {"impl": "mmx"}, "impl 'mmx' cannot run here; choose from .*torch"),
        (torch.ones(2).double(), {"impl": "scalar"}, "takes fp32 or bf16 on the CPU, got torch.float64"),
    ],
)
def test_refuses(x, keys, words):
    keys = {"weight": torch.ones(2), "residual": x, "impl": None} | keys
    with pytest.raises(ValueError, match=words):
        rms_norm_residual(x, keys["residual"], keys["weight"], 1e-5, impl=keys["impl"])
    if "residual" not in words:
        with pytest.raises(ValueError, match=words):
            rms_norm(x, keys["weight"], 1e-5, impl=keys["impl"])
