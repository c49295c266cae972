import math
import random

import numpy as np
import pytest
import torch

from fasttrain.core import backend, philox
from fasttrain.nn.dropout import DropoutKey, dropout
from fasttrain.nn.dropout_op import dropout_op
from nn.made_error import assert_same_bits, hold_the_same_bits, on_threads, poisoned_memory

OP = "dropout"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(0, 3), (2, 0), (1, 1), (3, 7), (2, 63), (2, 64), (2, 5, 67), (3, 1003)]
KEY = DropoutKey(seed=2**63 + 5, step=2**32 - 1, rows=(2**32 - 1, 0, 7))


def key_for(shape):
    return DropoutKey(seed=KEY.seed, step=KEY.step, rows=KEY.rows[: shape[0]])


def draw(shape, dtype, seed=61):
    g = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=g).to(dtype) for name in ("x", "dout")}


def run(tensors, how, p=0.3, key=None):
    x, dout = tensors["x"].detach().requires_grad_(), tensors["dout"]
    out = dropout(x, p, key or key_for(x.shape), 3, "ffn", impl=how)
    return {"out": out.detach(), "dx": torch.autograd.grad(out, x, dout)[0]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_every_implementation_gives_the_bits_of_the_reference(how, dtype, shape):
    tensors = draw(shape, dtype)
    assert_same_bits(run(tensors, how), run(tensors, "reference"))


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    """A value is kept where its word of its counter, (16 block + lane, row, step, site), reaches p 2^32."""
    x = torch.arange(1.0, 201).view(1, 200)
    y = dropout(x, 0.25, DropoutKey(seed=9, step=4, rows=(6,)), 0, "ffn", impl=how)
    for place in (0, 17, 63, 64, 131, 199):
        counter = np.array([16 * (place // 64) + place % 16, 6, 4, 3 * 1 + 2], np.uint32)
        kept = philox.philox(counter, 9)[place % 64 // 16] >= 2**30
        assert y[0, place].item() == pytest.approx((place + 1) / 0.75 if kept else 0.0, rel=1e-6)


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.97])
def test_it_keeps_the_expected_part_without_pattern(how, p):
    ones = torch.ones(2, 300, 256)
    key = DropoutKey(seed=random.getrandbits(64), step=1, rows=(0, 1))
    kept = (dropout(ones, p, key, 0, "attn", impl=how) != 0).double()
    sigma = math.sqrt(p * (1 - p) / kept.numel())
    assert abs(kept.mean().item() - (1 - p)) < 5 * sigma
    flat = kept.view(2, -1) - (1 - p)
    for a, b in ((flat[0], flat[1]), *((flat[0, :-lag], flat[0, lag:]) for lag in (1, 16, 64))):
        product = (a * b).mean().item()  # of independent draws: mean 0, deviation p (1 - p) / sqrt(n)
        assert abs(product) < 5 * p * (1 - p) / math.sqrt(a.numel())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_threads_strides_scratch_or_split(how, dtype):
    tensors = draw((3, 11, 2003), dtype)  # more than two ranges
    first, *others = on_threads((1, 2, 3), lambda: run(tensors, how))
    with poisoned_memory():
        others.append(run(tensors, how))
    others.append(run({name: x.transpose(0, 2).contiguous().transpose(0, 2) for name, x in tensors.items()}, how))
    parts = [
        run({n: x[b : b + 1] for n, x in tensors.items()}, how, key=DropoutKey(seed=KEY.seed, step=KEY.step, rows=(r,)))
        for b, r in enumerate(KEY.rows)
    ]
    others.append({name: torch.cat([part[name] for part in parts]) for name in first})
    for other in others:
        assert_same_bits(other, first)
    expanded = {name: x[:1, :1].expand(3, 11, -1) for name, x in tensors.items()}
    assert_same_bits(run(expanded, how), run({name: x.contiguous() for name, x in expanded.items()}, how))


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    tensors = draw((3, 1003), torch.bfloat16)
    hold_the_same_bits(lambda: run(tensors, how))


@pytest.mark.parametrize("how", EVERY)
def test_the_gradient_has_the_mask_of_the_output(how):
    tensors = {"x": torch.ones(2, 1000), "dout": torch.ones(2, 1000)}
    got = run(tensors, how)
    assert torch.equal(got["dx"], got["out"])


def test_each_part_of_the_key_draws_anew():
    x = torch.ones(1, 4096)
    keys = [{"seed": 1, "step": 2, "rows": (3,)} | change for change in ({}, {"seed": 2}, {"step": 3}, {"rows": (4,)})]
    masks = [dropout(x, 0.5, DropoutKey(**key), 0, "attn") for key in keys]
    masks += [
        dropout(x, 0.5, DropoutKey(**keys[0]), layer, site) for layer, site in ((1, "attn"), (0, "ffn"), (-1, "embed"))
    ]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            agree = (a == b).double().mean().item()
            assert abs(agree - 0.5) < 5 * 0.5 / math.sqrt(x.numel())


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    rows = torch.tensor([4, 2])
    torch.library.opcheck(dropout_op.overload, (torch.randn(2, 70, requires_grad=True), rows, -3, 5, 1, 0.4, how))


def test_compiles_without_a_break():
    tensors = draw((2, 5, 67), torch.bfloat16)
    x = tensors["x"].requires_grad_()

    def twice(x):
        return dropout(dropout(x, 0.2, key_for(x.shape), 0, "attn"), 0.3, key_for(x.shape), 0, "ffn")

    results = [f(x) for f in (twice, torch.compile(twice, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, tensors["dout"]) for y in results))


ONE = DropoutKey(seed=1, step=2, rows=(3,))


@pytest.mark.parametrize(
    ("x", "keys", "words"),
    [
        (torch.ones(2, 3), {}, "one index for each of the 2 rows, got 1"),
        (torch.ones(1, 3), {"p": 1.0}, r"p must lie in \[0, 1\), got 1.0"),
        (torch.ones(1, 3), {"layer": -2}, "layer must be at least -1 .* got -2 and 'attn'"),
        (torch.ones(1, 3), {"site": "head"}, "site one of .* got 0 and 'head'"),
        (torch.ones(1, 3), {"key": DropoutKey(seed=1, step=-1, rows=(3,))}, r"must lie in \[0, 2\^32\), got -1"),
        (torch.ones(1, 3), {"impl": "mmx"}, "impl 'mmx' cannot run here; choose from .*torch"),
        (torch.ones(1, 3).double(), {"impl": "scalar"}, "takes fp32 or bf16 on the CPU"),
    ],
)
def test_refuses(x, keys, words):
    with pytest.raises(ValueError, match=words):
        dropout(x, **{"p": 0.5, "key": ONE, "layer": 0, "site": "attn"} | keys)
