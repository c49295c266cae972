"""Muon's two passes over memory: every implementation, any cut, bf16 parameters."""

import copy
import itertools
import math
import random

import numpy as np
import pytest
import torch

from fasttrain.optim import adamw_ref, muon_ref
from fasttrain.optim.adamw import adamw_
from fasttrain.optim.muon import Muon, muon_momentum_, muon_step_, orthogonalize
from nn.made_error import assert_same_bits, hold_the_same_bits, poisoned_memory

OP = "muon"
SIZES = [0, 1, 7, 17, 63, 129, 4099, 100_003]
STEP = {"keep": 0.99, "rate": 3e-3, "step": 3, "seed": 2**63 + 11, "stream": 5}
HALVES = [(False, False), (False, True), (True, False), (True, True)]  # param, update
by_halves = pytest.mark.parametrize("halves", HALVES, ids=lambda h: "-".join("bf16" if x else "fp32" for x in h))


def draw(size, seed=37):
    return np.random.default_rng(seed).standard_normal(size, np.float32)


def arrays(size, halves):
    return [adamw_ref.nearest(x) if half else x for x, half in zip((draw(size), draw(size, 38)), halves)]


def stepped(given, **keys):
    param, update = (x.copy() for x in given)
    muon_step_(param, update, **STEP | keys)
    np.testing.assert_array_equal(update, given[1])
    return param


def with_momentum(grad, m, **keys):
    grad, m = grad.copy(), m.copy()
    muon_momentum_(grad, m, **{"momentum": 0.95, "grad_scale": 0.37} | keys)
    return grad, m


@pytest.mark.parametrize("size", SIZES)
def test_momentum_has_the_bits_of_the_reference(impl, size):
    given = draw(size), draw(size, 38)
    for got, expected in zip(with_momentum(*given, impl=impl), with_momentum(*given, impl="reference")):
        np.testing.assert_array_equal(got, expected)


def test_momentum_by_hand(impl):
    grad, m = with_momentum(np.float32([8, -4]), np.float32([1, 0]), momentum=0.75, grad_scale=0.5, impl=impl)
    assert m.tolist() == [1.75, -0.5]  # 1 + (4 - 1) / 4
    assert grad.tolist() == [1.75 + 2.25 / 4, -0.5 - 1.5 / 4]


@by_halves
@pytest.mark.parametrize("size", SIZES)
def test_a_step_has_the_bits_of_the_reference(impl, halves, size):
    given = arrays(size, halves)
    np.testing.assert_array_equal(stepped(given, impl=impl), stepped(given, impl="reference"))


def test_a_step_by_hand(impl):
    given = np.float32([1, -2]), np.float32([8, 16])
    assert stepped(given, keep=0.5, rate=0.125, impl=impl).tolist() == [-0.5, -3.0]


@by_halves
def test_neither_threads_nor_parts_matter(impl, halves):
    given = arrays(70_001, halves)
    whole = stepped(given, threads=1, impl=impl)
    for threads in (2, 5):
        np.testing.assert_array_equal(stepped(given, threads=threads, impl=impl), whole)
    cuts = [0, *sorted(random.sample(range(70_001), 4)), 70_001]
    parts = [stepped([x[a:b] for x in given], offset=a, impl=impl) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    momentum = with_momentum(draw(70_001), draw(70_001, 38), threads=1, impl=impl)
    for got, expected in zip(with_momentum(draw(70_001), draw(70_001, 38), threads=3, impl=impl), momentum):
        np.testing.assert_array_equal(got, expected)


def test_columns_are_drawn_as_in_the_whole_matrix(impl):
    R, C = 37, 301
    given = arrays(R * C, (True, True))
    whole = stepped(given, offset=1000, impl=impl).reshape(R, C)
    for begin, end, threads in ((0, 1, 1), (1, 130, 2), (130, 301, 5), (0, 301, 1)):
        part = [np.ascontiguousarray(x.reshape(R, C)[:, begin:end]).ravel() for x in given]
        got = stepped(part, offset=1000 + begin, width=end - begin, pitch=C, threads=threads, impl=impl)
        np.testing.assert_array_equal(got.reshape(R, -1), whole[:, begin:end])


def test_the_draws_are_adamws(impl):
    """With keep = 1 and steps so small that all that is left is the rounding of what lies between two bf16 values."""
    N = 1003
    param, zeros = adamw_ref.nearest(np.ones(N, np.float32)), np.zeros(N, np.float32)
    up = np.full(N, -0.3 * 2.0**-7, np.float32)  # bf16 above 1 are 2^-7 apart
    mine, theirs = param.copy(), param.copy()
    place = {"seed": 77, "stream": 3, "offset": 55, "step": 9}
    muon_step_(mine, up, keep=1.0, rate=1.0, impl=impl, **place)
    adamw_(theirs, up, zeros.copy(), zeros.copy(), lr=2.0**-7 * 0.3, betas=(0.0, 0.0), eps=0.0, **place)
    assert 0.2 * N < (mine != param).sum() < 0.4 * N
    np.testing.assert_array_equal(mine, theirs)


def test_stochastic_rounding_is_right_on_average(impl):
    """1 - 2^-11 lies an eighth of the way from 1 down to the next bf16, 1 - 2^-8: one value in eight goes there."""
    N = 200_000
    param = np.full(N, adamw_ref.nearest(np.ones(1, np.float32))[0])
    muon_step_(param, np.ones(N, np.float32), keep=1.0, rate=2.0**-11, seed=random.getrandbits(64), impl=impl)
    values, counts = np.unique(adamw_ref.widen(param), return_counts=True)
    assert values.tolist() == [1 - 2**-8, 1.0]
    assert abs(counts[0] / N - 1 / 8) < 5 * math.sqrt(1 / 8 * 7 / 8 / N)


def test_what_is_not_finite_stays_so_in_bf16(impl):
    param = adamw_ref.nearest(np.array([math.nan, math.inf, -math.inf, 3.3e38, 1.0] * 7, np.float32))
    got = adamw_ref.widen(stepped((param, np.zeros(35, np.float32)), keep=1.0, impl=impl))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(adamw_ref.widen(param)))
    np.testing.assert_array_equal(np.isinf(got[1::5]), True)


def matrix(shape=(16, 40), dtype=torch.float32, seed=1):
    return torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype))


def train(optimizer, p, steps, seed):
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        p.grad = torch.randn(p.shape, generator=g).to(p.dtype)
        optimizer.step()


def test_steps_below_bf16s_precision_add_up():
    """bf16 parameters end where the same run in fp32 does, but for roundings that are right on average."""
    p = matrix((64, 160), torch.bfloat16)
    q = torch.nn.Parameter(p.detach().float())
    start, steps, lr = q.detach().clone(), 100, 1e-4
    for x in (p, q):
        g, optimizer = torch.Generator().manual_seed(2), Muon([x], lr=lr, weight_decay=0.0, dtype=torch.float32, seed=5)
        drift = torch.randn(x.shape, generator=g)
        for _ in range(steps):
            x.grad = drift.to(x.dtype)
            optimizer.step()
    moved = (q - start).detach()
    assert moved.abs().mean() < start.abs().mean() * 2**-8, "steps are far below an ulp"
    off = ((p.float() - q).detach() * moved).sum() / moved.square().sum()  # of the way that fp32 went
    # Each step rounds by at most an ulp (2^-7 |p|), up or down by a coin's deviation at most: independent errors.
    deviation = math.sqrt(steps) / 2 * (start.abs() * 2**-7 * moved).norm() / moved.square().sum()
    assert abs(off) < 5 * deviation + 2**-8, "and the gradient's rounding to bf16"
    assert deviation < 0.5, "the bound says something"


@pytest.mark.parametrize("zero_grad", [False, True])
def test_gradients_are_left_alone_or_set_to_0(zero_grad):
    p = matrix()
    p.grad = torch.randn(p.shape)
    before = p.grad.clone()
    Muon([p]).step(zero_grad=zero_grad)
    assert torch.equal(p.grad, torch.zeros_like(before) if zero_grad else before)
    p.grad = torch.tensor(2.0).expand(p.shape)
    Muon([p]).step(zero_grad=True)
    assert not p.grad.any()
    p.grad += 1  # it is memory of its own


def one_step(grad, dtype):
    p = matrix(dtype=dtype)
    p.grad = grad
    optimizer = Muon([p], lr=1e-2, seed=4)
    optimizer.step()
    return {"p": p.detach(), "m": optimizer.state[p]["momentum_buffer"]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_do_not_depend_on_the_gradients_strides_or_scratch(dtype):
    grad, row = matrix(dtype=dtype, seed=2).detach(), matrix((40,), dtype, seed=3).detach()
    first = one_step(grad, dtype)
    assert_same_bits(one_step(grad.T.contiguous().T, dtype), first)
    assert_same_bits(one_step(row.expand(16, 40), dtype), one_step(row.expand(16, 40).contiguous(), dtype))
    with poisoned_memory():
        assert_same_bits(one_step(grad, dtype), first)


@pytest.mark.once
def test_the_same_bits_200_times_under_load():
    given, momentum = arrays(70_001, (True, True)), (draw(70_001), draw(70_001, 38))
    x = matrix((130, 70)).detach()

    def run():
        grad, m = with_momentum(*momentum, threads=3)
        results = {"param": stepped(given, threads=3), "grad": grad, "m": m}
        return {name: torch.from_numpy(a) for name, a in results.items()} | {"update": orthogonalize(x)}

    hold_the_same_bits(run)


def test_a_loaded_state_goes_on_with_the_same_bits_in_bf16():
    p = matrix(dtype=torch.bfloat16)
    a = Muon([p], lr=1e-2, seed=4)
    train(a, p, 3, seed=1)
    q = torch.nn.Parameter(p.detach().clone())
    b = Muon([q], lr=9.0, seed=4)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    assert b.state[q]["momentum_buffer"].dtype == torch.float32
    for x, optimizer in ((p, a), (q, b)):
        train(optimizer, x, 3, seed=2)
    assert torch.equal(p, q)


def test_a_slice_of_a_matrix_steps_as_in_the_whole(monkeypatch):
    """A group says its place, its gradient and of which shape it is a part; the update here is the gradient itself."""
    monkeypatch.setattr("fasttrain.optim.muon.orthogonalize", lambda x, dtype: x)
    whole = matrix((10, 12), torch.bfloat16)
    left = torch.nn.Parameter(whole.detach()[:, :5].contiguous())
    grad = torch.randn(10, 12)
    place = {"stream": 7, "offset": 0}
    a = Muon([{"params": [whole], "grad": grad, "place": place}], lr=1e-2)
    own = {"grad": grad[:, :5].contiguous(), "place": place | {"width": 5, "pitch": 12}, "shape": (10, 12)}
    b = Muon([{"params": [left], **own}], lr=1e-2)
    for optimizer in (a, b):
        optimizer.step()
    assert torch.equal(whole[:, :5], left)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"param": np.zeros(4)}, TypeError, "muon: param must have dtype float32, got float64"),
        ({"update": np.zeros(3, np.float32)}, ValueError, r"muon: update must have shape \(4,\)"),
        ({"step": 0}, ValueError, "muon: step must be at least 1, got 0"),
        ({"width": 3, "pitch": 4}, ValueError, "muon: need 0 < width <= pitch and whole rows of N = 4, got 3, 4"),
        ({"offset": 2**35}, ValueError, r"offset \+ N at most 2\^35"),
        ({"impl": "fast"}, ValueError, "muon: impl 'fast' cannot run here"),
    ],
)
def test_refuses(change, error, words):
    keys = {"param": np.zeros(4, np.float32), "update": np.zeros(4, np.float32), "keep": 1.0, "rate": 1.0} | change
    with pytest.raises(error, match=words):
        muon_step_(**keys)


def test_momentum_refuses_another_shape():
    with pytest.raises(ValueError, match=r"muon: m must have shape \(4,\), got \(3,\)"):
        muon_momentum_(np.zeros(4, np.float32), np.zeros(3, np.float32), momentum=0.9)


def test_a_group_with_a_place_holds_one_parameter():
    with pytest.raises(ValueError, match="Muon: a group with a place or grad must hold one parameter"):
        Muon([{"params": [matrix(), matrix()], "place": {"stream": 1}}])


def test_the_definition_in_float64():
    param, update = np.array([[3.0, 4.0]]), np.array([[1.0, -1.0]])
    muon_ref.step(param, update, keep=0.5, rate=0.25)
    assert param.tolist() == [[1.25, 2.25]]
