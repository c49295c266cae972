import math

import pytest
import torch
import torch.nn.functional as F

from fasttrain.core import backend
from fasttrain.nn.gelu import gelu
from fasttrain.nn.gelu_op import gelu_backward_op, gelu_op
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "gelu"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(), (0,), (1,), (3, 0), (7,), (3, 17), (2, 5, 67), (40, 1003)]


def draw(shape, dtype, seed=59):
    g = torch.Generator().manual_seed(seed)
    x, dout = (torch.randn(shape, generator=g) for _ in range(2))
    return {"x": (2 * x).to(dtype), "dout": dout.to(dtype)}


def run(tensors, how, dtype=None):
    t = {name: x.detach().to(dtype or x.dtype) for name, x in tensors.items()}
    x = t["x"].requires_grad_()
    out = gelu(x, impl=how)
    (dx,) = torch.autograd.grad(out, x, t["dout"])
    return {"out": out.detach(), "dx": dx}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_error_against_float64(how, dtype, shape):
    tensors = draw(shape, dtype)
    exact = run(tensors, "reference", torch.float64)
    hold_error(run(tensors, how), run(tensors, "torch"), exact, terms=terms(tensors, exact))


def terms(tensors, exact):
    """What dx is a sum of: two terms, dout s and dout x s (1 - s) 2 u', which nearly cancel at x = -0.75."""
    x, dout = (tensors[name].double() for name in ("x", "dout"))
    s = 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    first, whole = dout * s, exact["dx"]
    return {"dx": first.abs() + (whole - first).abs()}


@pytest.mark.parametrize("x", [-30.0, -9.99, -5.0, -1.0, -0.7524, -1e-20, 0.0, 1e-20, 0.3, 2.0, 9.99, 30.0])
def test_the_reference_is_torchs_formula(x):
    x = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    ours, theirs = (f(x) for f in (lambda x: gelu(x, impl="reference"), lambda x: F.gelu(x, approximate="tanh")))
    torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)
    slopes = [torch.autograd.grad(y, x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    x = torch.tensor([0.0, 1.0, -1.0, -100.0, 100.0], requires_grad=True)
    # At 1: u = 0.7978846 * 1.044715 = 0.8335620, tanh(u) = 0.6823840, u' = 0.7978846 * 1.134145 = 0.9049168
    out = gelu(x, impl=how)
    torch.testing.assert_close(out, torch.tensor([0.0, 0.8411920, -0.1588080, 0.0, 100.0]))
    out.sum().backward()
    bend = 0.5 * (1 - 0.6823840**2) * 0.9049168
    torch.testing.assert_close(x.grad, torch.tensor([0.5, 0.8411920 + bend, 0.1588080 - bend, 0.0, 1.0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_threads_strides_or_scratch(how, dtype):
    tensors = draw((40, 1003), dtype)  # more than two ranges
    first, *others = on_threads((1, 2, 3), lambda: run(tensors, how))
    with poisoned_memory():
        others.append(run(tensors, how))
    others.append(run({name: x.T.contiguous().T for name, x in tensors.items()}, how))
    for other in others:
        assert_same_bits(other, first)
    expanded = {name: x[:1].expand(5, -1) for name, x in tensors.items()}
    assert_same_bits(run(expanded, how), run({name: x.contiguous() for name, x in expanded.items()}, how))


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    tensors = draw((40, 1003), torch.bfloat16)
    hold_the_same_bits(lambda: run(tensors, how))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_far_out_it_is_x_or_zero_and_so_is_the_gradient(how, dtype):
    """Whether x^2, x^3 or only the exponent overflows; torch's gradient is NaN where x^2 is infinite."""
    far = torch.tensor([9.9, 10.0, 10.1, 11.0, 13.0, 90.0, 1e6, 7e12, 2e19, 1e38, 3.3e38]).to(dtype)
    tiny = 1e-34  # at -9.9 the gradient is -3e-35
    for sign in (1.0, -1.0):
        got = run({"x": sign * far, "dout": torch.ones_like(far)}, how)
        expected = far if sign > 0 else torch.zeros_like(far)
        torch.testing.assert_close(got["out"], expected, rtol=0, atol=tiny)
        torch.testing.assert_close(got["dx"], (expected > 0).to(dtype), rtol=0, atol=tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", EVERY)
def test_what_is_not_finite_shows(how, dtype):
    x = torch.tensor([math.nan, math.inf] + [1.0] * 40, dtype=dtype)
    dout = torch.ones_like(x)
    dout[-1] = math.nan
    got = run({"x": x, "dout": dout}, how)
    assert got["out"][0].isnan()
    assert got["dx"][0].isnan()
    assert got["out"][1] == math.inf
    assert got["dx"][-1].isnan()
    assert got["out"][2:].isfinite().all()
    assert got["dx"][2:-1].isfinite().all()


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    x = torch.randn(3, 7, requires_grad=True)
    torch.library.opcheck(gelu_op.overload, (x, how))
    torch.library.opcheck(gelu_backward_op.overload, (torch.randn(3, 7), x.detach(), how))


@pytest.mark.parametrize("how", [None, *NATIVE])
def test_compiles_without_a_break(how):
    t = draw((2, 5, 67), torch.bfloat16)
    x = t["x"].requires_grad_()

    def twice(x):
        return gelu(gelu(x, impl=how), impl=how)

    results = [f(x) for f in (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, t["dout"]) for y in results))


def test_a_compiler_gets_torchs(monkeypatch):
    seen = []

    def backend_of(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    monkeypatch.delenv("FASTTRAIN_IMPL", raising=False)
    torch.compile(lambda x: gelu(x), backend=backend_of, fullgraph=True)(torch.randn(3))
    assert not [name for name in seen if "fasttrain" in name]
    assert [name for name in seen if "gelu" in name]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_dtypes_are_torchs(dtype, monkeypatch):
    monkeypatch.delenv("FASTTRAIN_IMPL", raising=False)
    x = torch.randn(30).to(dtype)
    assert torch.equal(gelu(x), F.gelu(x, approximate="tanh"))


@pytest.mark.parametrize(
    ("x", "how", "words"),
    [
        (torch.ones(2), "mmx", "impl 'mmx' cannot run here; choose from .*torch"),
        (torch.ones(2).double(), "scalar", "takes fp32 or bf16 on the CPU, got torch.float64 on cpu"),
    ],
)
def test_refuses(x, how, words):
    with pytest.raises(ValueError, match=words):
        gelu(x, impl=how)
