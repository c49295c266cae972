import copy
import math

import numpy as np
import pytest
import torch

from fasttrain.optim import adamw_ref
from fasttrain.optim.adamw import AdamW, adamw_, decay_groups
from fasttrain.optim.adamw_torch import adamw_torch_
from made_card import HAS_CARD
from nn.made_error import assert_same_bits, poisoned_memory

OP = "adamw"
SETTINGS = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}


def draw(size, seed=31):
    rng = np.random.default_rng(seed)
    param, grad, m = (rng.standard_normal(size, np.float32) for _ in range(3))
    return [param, grad, m, np.square(rng.standard_normal(size, np.float32))]


def step(arrays, **keys):
    out = [a.copy() for a in arrays]
    adamw_(*out, **SETTINGS | {"step": 3, "grad_scale": 0.37} | keys)
    return out


@pytest.mark.parametrize("size", [0, 1, 7, 8, 17, 4099, 100_003])
def test_every_implementation_gives_the_same_bits(impl, size):
    arrays = draw(size)
    for got, expected in zip(step(arrays, impl=impl), step(arrays, impl="reference")):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_matter(threads):
    arrays = draw(100_003)
    for got, expected in zip(step(arrays, threads=threads), step(arrays, threads=1)):
        np.testing.assert_array_equal(got, expected)


def test_by_hand(impl):
    param, grad, m, v = (np.array([x], np.float32) for x in (1.0, 0.5, 0.0, 0.0))
    adamw_(param, grad, m, v, step=1, lr=0.1, betas=(0.5, 0.5), eps=0.0, weight_decay=0.5, grad_scale=2.0, impl=impl)
    assert (m[0], v[0]) == (0.5, 0.5)
    assert param[0] == pytest.approx(0.95 - 0.1)  # the first step is lr in the gradient's direction


def test_error_against_float64_is_at_most_twice_torchs(impl):
    """Ten steps beside torch.optim.AdamW in fp32 and in fp64."""
    generator = torch.Generator().manual_seed(7)
    start = torch.randn(5000, generator=generator)
    grads = [torch.randn(5000, generator=generator) for _ in range(10)]
    results = {}
    for name, dtype in (("torch", torch.float32), ("exact", torch.float64)):
        p = torch.nn.Parameter(start.to(dtype).clone())
        optimizer = torch.optim.AdamW([p], **SETTINGS)
        for g in grads:
            p.grad = g.to(dtype)
            optimizer.step()
        results[name] = p.detach().double()
    p = torch.nn.Parameter(start.clone())
    optimizer = AdamW([p], **SETTINGS, impl=impl)
    for g in grads:
        p.grad = 2 * g
        optimizer.step(grad_scale=0.5)
    ours = (p.detach().double() - results["exact"]).abs().max()
    theirs = (results["torch"] - results["exact"]).abs().max()
    rounding = start.abs().max() * torch.finfo(torch.float32).eps / 2
    assert ours <= 2 * theirs + rounding


def test_the_reference_in_float64_is_torchs():
    arrays = [a.astype(np.float64) for a in draw(50)]
    param, grad, m, v = (a.copy() for a in arrays)
    m[:], v[:] = 0.0, 0.0
    p = torch.nn.Parameter(torch.from_numpy(param.copy()))
    optimizer = torch.optim.AdamW([p], **SETTINGS)
    for t in range(1, 6):
        adamw_ref.adamw(param, grad * t, m, v, adamw_ref.coefficients(t, **SETTINGS, grad_scale=1.0))
        p.grad = torch.from_numpy(grad * t)
        optimizer.step()
    np.testing.assert_allclose(param, p.detach().numpy(), rtol=1e-13)


@pytest.mark.parametrize("bf16", [False, True])
def test_torchs_operations_give_the_same_bits_but_for_a_root(bf16):
    """What a card does that the compiled kernels do not run on. On the CPU torch's root is off by a rounding, and so is
    what is taken off a parameter."""
    arrays = draw(4099)
    param, grad, m, v = (torch.from_numpy(a.copy()) for a in arrays)
    half = torch.full((4099,), math.nan, dtype=torch.bfloat16) if bf16 else None
    adamw_torch_(param, grad, m, v, **SETTINGS | {"step": 3, "grad_scale": 0.37}, copy=half, zero_grad=bf16, stream=2)
    expected = step(arrays, impl="reference")
    for got, i in ((m, 2), (v, 3)):
        np.testing.assert_array_equal(got.numpy(), expected[i])
    eps, moved = np.finfo(np.float32).eps, np.abs(expected[0] - arrays[0])
    assert (np.abs(param.numpy() - expected[0]) <= 2 * eps * moved + eps * np.abs(expected[0])).all()
    assert half is None or torch.equal(half, param.bfloat16())
    assert bool(grad.any()) is not bf16
    with pytest.raises(TypeError, match="adamw: param must be float32 on cpu"):
        adamw_torch_(param.bfloat16(), grad, m, v, **SETTINGS, step=3)


def test_expanded_gradients_are_read_as_what_they_are():
    p = torch.nn.Parameter(torch.zeros(3, 5))
    p.grad = torch.tensor(2.0).expand(3, 5)  # stride 0, as .sum().backward() leaves it
    optimizer = AdamW([p], lr=0.1)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((3, 5), -0.1))
    assert optimizer.state[p]["step"] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_do_not_depend_on_the_gradients_strides_or_scratch(dtype):
    g = torch.Generator().manual_seed(6)
    start, grad, row = (torch.randn(shape, generator=g).to(dtype) for shape in ((33, 70), (33, 70), (70,)))

    def step(grad):
        p = torch.nn.Parameter(start.clone())
        p.grad = grad
        optimizer = AdamW([p], lr=0.1, clip_norm=1.0, bf16="stochastic")
        optimizer.step()
        return {"p": p.detach(), "m": optimizer.state[p]["exp_avg"], "v": optimizer.state[p]["exp_avg_sq"]}

    first = step(grad)
    assert_same_bits(step(grad.T.contiguous().T), first)
    assert_same_bits(step(row.expand(33, 70)), step(row.expand(33, 70).contiguous()))
    with poisoned_memory():
        assert_same_bits(step(grad), first)


def test_state_survives_a_round_trip():
    p, q = (torch.nn.Parameter(torch.ones(9)) for _ in range(2))
    a, b = AdamW([p], lr=0.1), AdamW([q], lr=0.1)
    for _ in range(2):
        p.grad = p.detach().square()
        a.step()
    q.data.copy_(p.data)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for parameter, optimizer in ((p, a), (q, b)):
        parameter.grad = parameter.detach().square()
        optimizer.step()
    assert torch.equal(p, q)


def test_only_matrices_decay():
    named = {"w": torch.nn.Parameter(torch.ones(2, 2)), "norm": torch.nn.Parameter(torch.ones(2))}
    optimizer = AdamW(decay_groups(named.items(), 0.5), lr=0.1)
    for p in named.values():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.equal(named["norm"].data, torch.ones(2))
    torch.testing.assert_close(named["w"].data, torch.full((2, 2), 0.95))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({1: np.zeros(4)}, TypeError, "adamw: grad must have dtype float32, got float64"),
        ({2: np.zeros(3, np.float32)}, ValueError, r"adamw: m must have shape \(4,\), got \(3,\)"),
        ({3: np.zeros(8, np.float32)[::2]}, ValueError, "adamw: v must be C-contiguous"),
        ({"step": 0}, ValueError, "adamw: step must be at least 1, got 0"),
        ({"step": 2**32}, ValueError, r"step and stream must be below 2\^32"),
        ({"offset": 2**35 - 3}, ValueError, r"offset \+ N at most 2\^35"),
        ({"copy": np.zeros(3, np.uint16)}, ValueError, r"copy must have shape \(4,\), got \(3,\)"),
        ({0: np.zeros(4, np.uint16), "copy": np.zeros(4, np.uint16)}, ValueError, "copy must be None where param"),
        ({"impl": "mmx"}, ValueError, "impl 'mmx' cannot run here"),
    ],
)
def test_refuses(change, error, words):
    arrays, keys = draw(4), {}
    for place, value in change.items():
        if isinstance(place, int):
            arrays[place] = value
        else:
            keys[place] = value
    with pytest.raises(error, match=words):
        adamw_(*arrays, **SETTINGS | {"step": 1} | keys)


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"lr": -1.0}, ValueError, "lr must be at least 0, got -1.0"),
        ({"betas": (0.9, 1.0)}, ValueError, r"betas must lie in \[0, 1\)"),
        ({"clip_norm": -0.5}, ValueError, "clip_norm must be at least 0"),
        ({"bf16": "nearest"}, ValueError, "bf16 must be 'master' or 'stochastic', got 'nearest'"),
        ({"dtype": torch.float16}, TypeError, "contiguous float32 or bfloat16, got torch.float16"),
        ({"dtype": torch.float64}, TypeError, "contiguous float32 or bfloat16, got torch.float64"),
    ],
)
def test_the_optimizer_refuses(keys, error, words):
    p = torch.nn.Parameter(torch.zeros(3, dtype=keys.pop("dtype", torch.float32)))
    with pytest.raises(error, match=words):
        AdamW([p], **keys)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CARD, reason="needs a card and a build with CUDA")
@pytest.mark.parametrize("size", [0, 1, 3, 4099, 1_000_003])
def test_cuda_gives_the_same_bits(size):
    arrays = draw(size)
    p = torch.nn.Parameter(torch.from_numpy(arrays[0].copy()).cuda())
    p.grad = torch.from_numpy(arrays[1]).cuda()
    optimizer = AdamW([p], **SETTINGS)
    optimizer.state[p].update(
        exp_avg=torch.from_numpy(arrays[2]).cuda(), exp_avg_sq=torch.from_numpy(arrays[3]).cuda(), step=2
    )
    optimizer.step(grad_scale=0.37)
    np.testing.assert_array_equal(p.detach().cpu().numpy(), step(arrays, impl="reference")[0])
