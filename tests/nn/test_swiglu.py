import math

import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn.swiglu import swiglu
from fasttrain.nn.swiglu_op import swiglu_backward_op, swiglu_op
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "swiglu"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(), (0,), (1,), (3, 0), (7,), (3, 17), (2, 5, 67), (40, 1003)]


def draw(shape, dtype, seed=53):
    g = torch.Generator().manual_seed(seed)
    gate, up, dout = (torch.randn(shape, generator=g) for _ in range(3))
    return {"gate": (4 * gate).to(dtype), "up": up.to(dtype), "dout": dout.to(dtype)}


def run(tensors, how, dtype=None):
    t = {name: x.detach().to(dtype or x.dtype) for name, x in tensors.items()}
    leaves = [t[name].requires_grad_() for name in ("gate", "up")]
    out = swiglu(*leaves, impl=how)
    dgate, dup = torch.autograd.grad(out, leaves, t["dout"])
    return {"out": out.detach(), "dgate": dgate, "dup": dup}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_error_against_float64(how, dtype, shape):
    tensors = draw(shape, dtype)
    exact = run(tensors, "reference", torch.float64)
    # dgate is a sum of two terms, dout up s and dout up gate s (1 - s).
    terms = {"dgate": tensors["dout"].double() * tensors["up"] * tensors["gate"].double().sigmoid()}
    hold_error(run(tensors, how), run(tensors, "torch"), exact, terms=terms)


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    gate = torch.tensor([0.0, math.log(3), -100.0, 100.0], requires_grad=True)  # sigmoid 1/2, 3/4, 0, 1
    up = torch.tensor([8.0, 4.0, 1.0, 2.0], requires_grad=True)
    out = swiglu(gate, up, impl=how)
    torch.testing.assert_close(out, torch.tensor([0.0, 3 * math.log(3), 0.0, 200.0]))
    out.sum().backward()
    torch.testing.assert_close(gate.grad, torch.tensor([4.0, 3 + 0.75 * math.log(3), 0.0, 2.0]))
    torch.testing.assert_close(up.grad, torch.tensor([0.0, 0.75 * math.log(3), 0.0, 100.0]))


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


@pytest.mark.parametrize("how", EVERY)
def test_what_is_not_finite_shows_and_the_rest_does_not_overflow(how):
    gate = torch.tensor([math.nan, 1e38, -1e38, 90.0, -90.0])
    got = run({"gate": gate, "up": torch.ones(5), "dout": torch.ones(5)}, how)
    for value in got.values():
        assert value[0].isnan()
        assert value[1:].isfinite().all()


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    gate, up = torch.randn(3, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    torch.library.opcheck(swiglu_op.overload, (gate, up, how))
    torch.library.opcheck(swiglu_backward_op.overload, (torch.randn(3, 7), gate.detach(), up.detach(), how))


def test_compiles_without_a_break():
    t = draw((2, 5, 67), torch.bfloat16)
    leaves = [t[name].requires_grad_() for name in ("gate", "up")]

    def twice(gate, up):
        return swiglu(swiglu(gate, up), up)

    results = [f(*leaves) for f in (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, t["dout"]) for y in results))


@pytest.mark.parametrize(
    ("gate", "up", "how", "error", "words"),
    [
        (torch.ones(2), torch.ones(3), None, ValueError, r"up must have shape \(2,\), got \(3,\)"),
        (torch.ones(2), torch.ones(2).bfloat16(), None, TypeError, "one dtype, got torch.float32 and torch.bfloat16"),
        (torch.ones(2), torch.ones(2), "mmx", ValueError, "impl 'mmx' cannot run here; choose from .*torch"),
        (torch.ones(2).double(), torch.ones(2).double(), "scalar", ValueError, "takes fp32 or bf16 on the CPU"),
    ],
)
def test_refuses(gate, up, how, error, words):
    with pytest.raises(error, match=words):
        swiglu(gate, up, impl=how)
