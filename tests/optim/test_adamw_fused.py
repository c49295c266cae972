"""What the pass does beside the update: bf16 copies, stochastic rounding, bf16 gradients, zeros, clipping, state."""

import copy
import math
import random

import numpy as np
import pytest
import torch

from fasttrain.optim import adamw_ref
from fasttrain.optim.adamw import AdamW, adamw_
from fasttrain.optim.sum_squares import sum_squares
from nn.made_error import under_load

OP = "adamw"
SIZES = [0, 1, 7, 17, 63, 129, 4099, 100_003]
SETTINGS = {"step": 3, "lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, "grad_scale": 0.37}


def draw(size, *, half_param=False, half_grad=False, seed=37):
    rng = np.random.default_rng(seed)
    param, grad, m = (rng.standard_normal(size, np.float32) for _ in range(3))
    arrays = {"param": param, "grad": grad, "m": m, "v": np.square(rng.standard_normal(size, np.float32))}
    for name, is_half in (("param", half_param), ("grad", half_grad)):
        if is_half:
            arrays[name] = adamw_ref.nearest(arrays[name])
    return arrays


def step(arrays, *, copied=False, **keys):
    out = {name: a.copy() for name, a in arrays.items()}
    if copied:
        out["copy"] = np.full(len(out["param"]), 0x7FC1, np.uint16)  # NaN: what is not written shows
    adamw_(*(out[name] for name in ("param", "grad", "m", "v")), copy=out.get("copy"), **SETTINGS | keys)
    return out


def assert_equal(got, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


MODES = [
    {"copied": True},
    {"copied": True, "half_grad": True},
    {"half_param": True},
    {"half_param": True, "half_grad": True},
    {"half_grad": True},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(mode))
def test_every_implementation_gives_the_bits_of_the_reference(impl, mode, size):
    arrays = draw(size, half_param=mode.get("half_param", False), half_grad=mode.get("half_grad", False))
    keys = {"copied": mode.get("copied", False), "seed": 2**63 + 11, "stream": 5, "zero_grad": True}
    expected = step(arrays, impl="reference", **keys)
    assert_equal(step(arrays, impl=impl, **keys), expected)
    assert not expected["grad"].any()
    keys["zero_grad"] = False
    np.testing.assert_array_equal(step(arrays, impl=impl, **keys)["grad"], arrays["grad"])


@pytest.mark.parametrize("mode", MODES[:3:2], ids=lambda mode: "-".join(mode))
def test_neither_threads_nor_parts_matter(impl, mode):
    arrays = draw(70_001, half_param=mode.get("half_param", False))
    keys = {"copied": mode.get("copied", False), "impl": impl, "seed": 3, "stream": 1}
    whole = step(arrays, threads=1, **keys)
    for threads in (2, 5):
        assert_equal(step(arrays, threads=threads, **keys), whole)
    cuts = sorted(random.sample(range(70_001), 4))
    parts = [
        step({name: a[begin:end] for name, a in arrays.items()}, offset=begin, **keys)
        for begin, end in zip([0, *cuts], [*cuts, 70_001])
    ]
    assert_equal({name: np.concatenate([part[name] for part in parts]) for name in whole}, whole)


def test_columns_are_drawn_as_in_the_whole_matrix(impl):
    R, C = 37, 301
    arrays, keys = draw(R * C, half_param=True), {"impl": impl, "seed": 3, "stream": 1}
    whole = step(arrays, offset=1000, **keys)["param"].reshape(R, C)
    for begin, end, threads in ((0, 1, 1), (1, 130, 2), (130, 301, 5), (0, 301, 1)):
        part = {name: np.ascontiguousarray(a.reshape(R, C)[:, begin:end]).ravel() for name, a in arrays.items()}
        got = step(part, offset=1000 + begin, width=end - begin, pitch=C, threads=threads, **keys)["param"]
        np.testing.assert_array_equal(got.reshape(R, -1), whole[:, begin:end])


def test_what_is_not_finite_stays_so_in_bf16(impl):
    param = adamw_ref.nearest(np.array([math.nan, math.inf, -math.inf, 3.3e38, 1.0] * 7, np.float32))
    arrays = draw(35, half_param=True) | {"param": param}
    got = adamw_ref.widen(step(arrays, impl=impl, weight_decay=0.0)["param"])
    np.testing.assert_array_equal(np.isnan(got), np.isnan(adamw_ref.widen(param)))
    np.testing.assert_array_equal(np.isinf(got[1::5]), True)


def test_stochastic_rounding_is_right_on_average(impl):
    """1 - 2^-11 lies an eighth of the way from 1 down to the next bf16, 1 - 2^-8: one value in eight goes there."""
    N = 200_000
    param, grad = np.full(N, adamw_ref.nearest(np.ones(1, np.float32))[0]), np.ones(N, np.float32)
    m, v = np.zeros(N, np.float32), np.zeros(N, np.float32)
    keys = {"lr": 2.0**-11, "betas": (0.5, 0.5), "eps": 0.0, "seed": random.getrandbits(64), "impl": impl}
    adamw_(param, grad, m, v, step=1, **keys)
    values, counts = np.unique(adamw_ref.widen(param), return_counts=True)
    assert values.tolist() == [1 - 2**-8, 1.0]
    assert abs(counts[0] / N - 1 / 8) < 5 * math.sqrt(1 / 8 * 7 / 8 / N)


def test_steps_below_bf16s_precision_add_up():
    """100 steps of 2^-12 from 1: lost by nearest rounding, kept by both ways of bf16."""
    moved = {}
    for how in ("master", "stochastic"):
        p = torch.nn.Parameter(torch.ones(4096, dtype=torch.bfloat16))
        optimizer = AdamW([p], lr=2.0**-12, betas=(0.0, 0.0), eps=0.0, bf16=how, seed=1)
        for _ in range(100):
            p.grad = torch.ones_like(p)
            optimizer.step(zero_grad=True)
        moved[how] = 1 - p.detach().double().mean().item()
    assert moved["master"] == pytest.approx(100 * 2.0**-12, abs=2.0**-9)
    # Each value's error is a sum of 100 roundings, independent, each at most one ulp (2^-8) times a coin's deviation.
    assert moved["stochastic"] == pytest.approx(100 * 2.0**-12, abs=5 * math.sqrt(100 / 4096) * 2.0**-8 / 2)


def test_a_bf16_copy_is_the_master_rounded():
    p, q = torch.nn.Parameter(torch.randn(1003).bfloat16()), torch.nn.Parameter(torch.zeros(1003))
    q.data.copy_(p.data)
    ours, exact = (AdamW([x], lr=1e-2, weight_decay=0.1) for x in (p, q))
    for _ in range(3):
        p.grad = torch.randn(1003).bfloat16()
        q.grad = p.grad.float()
        ours.step(), exact.step()
    assert torch.equal(ours.state[p]["master"], q.detach())
    assert torch.equal(p.detach(), q.detach().bfloat16())


@pytest.mark.parametrize("scale", [1.0, 1 / 1024])
def test_clipping_is_torchs(impl, scale):
    shapes = [(40, 30), (7,), ()]
    g = torch.Generator().manual_seed(5)
    ours = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    optimizer = AdamW(ours, lr=1e-2, weight_decay=0.1, clip_norm=0.3, impl=impl)
    other = torch.optim.AdamW(theirs, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(4):
        for p, q in zip(ours, theirs):
            q.grad = torch.randn(q.shape, generator=g)
            p.grad = q.grad / scale
        norm = torch.nn.utils.clip_grad_norm_(theirs, 0.3)
        assert norm > 0.3, "clipping must have something to do"
        other.step()
        optimizer.step(grad_scale=scale, zero_grad=True)
        assert optimizer.grad_norm == pytest.approx(norm.item(), rel=1e-5)
        assert not any(p.grad.any() for p in ours)
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_updates_nothing(bad):
    p = torch.nn.Parameter(torch.ones(5))
    p.grad = torch.tensor([1.0, bad, 1.0, 1.0, 1.0])
    optimizer = AdamW([p], clip_norm=1.0)
    with pytest.raises(RuntimeError, match="norm must be finite, got (nan|inf); skip this batch"):
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones(5))
    assert not optimizer.state[p]


def test_zeroing_an_expanded_gradient_leaves_a_gradient_of_zeros():
    p = torch.nn.Parameter(torch.ones(3, 4))
    p.grad = torch.tensor(2.0).expand(3, 4)
    AdamW([p]).step(zero_grad=True)
    assert torch.equal(p.grad, torch.zeros(3, 4))
    p.grad += 1  # it is memory of its own


def train(optimizer, p, steps, seed):
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        p.grad = torch.randn(p.shape, generator=g).to(p.dtype)
        optimizer.step()


def parameter(dtype=torch.float32):
    return torch.nn.Parameter(torch.randn(33, 5, generator=torch.Generator().manual_seed(9)).to(dtype))


OURS = {"lr": 1e-2, "betas": (0.9, 0.95), "weight_decay": 0.1}


@pytest.mark.parametrize("keys", [{}, {"bf16": "master"}, {"bf16": "stochastic", "seed": 4}])
def test_a_loaded_state_goes_on_with_the_same_bits(keys):
    p = parameter(torch.bfloat16 if keys else torch.float32)
    a = AdamW([p], **OURS, **keys)
    train(a, p, 3, seed=1)
    q = torch.nn.Parameter(p.detach().clone())
    b = AdamW([q], lr=9.0, **keys)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for x, optimizer in ((p, a), (q, b)):
        train(optimizer, x, 3, seed=2)
    assert torch.equal(p, q)
    assert all(value.dtype == torch.float32 for value in b.state[q].values())


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_the_state_of_torchs_adamw_is_ours_and_ours_is_torchs(ours_first, fused):
    makers = [lambda p: AdamW([p], **OURS), lambda p: torch.optim.AdamW([p], **OURS, fused=fused)]
    first, second = makers if ours_first else makers[::-1]
    p, unbroken = parameter(), parameter()
    a = first(p)
    train(a, p, 3, seed=1)
    b = second(p)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    train(b, p, 3, seed=2)
    c = torch.optim.AdamW([unbroken], **OURS)
    train(c, unbroken, 3, seed=1)
    train(c, unbroken, 3, seed=2)
    torch.testing.assert_close(p, unbroken, rtol=1e-5, atol=1e-6)


def test_amsgrads_state_is_refused():
    p = parameter()
    theirs = torch.optim.AdamW([p], amsgrad=True)
    with pytest.raises(ValueError, match="amsgrad and maximize must be off"):
        AdamW([p]).load_state_dict(theirs.state_dict())


def test_schedulers_groups_and_closures_of_torch_work():
    p, q = parameter(), parameter()
    optimizer = AdamW([{"params": [p], "lr": 0.4}, {"params": [q], "weight_decay": 0.0}], lr=0.1)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        ],
        [2],
    )
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = (p.square().sum() + q.square().sum()) / 2
        loss.backward()
        return loss

    rates = []
    for _ in range(8):
        rates.append([group["lr"] for group in optimizer.param_groups])
        losses.append(optimizer.step(closure).item())
        scheduler.step()
    assert rates[0] == pytest.approx([0.2, 0.05])
    assert rates[2] == pytest.approx([0.4, 0.1])
    assert losses[-1] < losses[0] / 2
    assert optimizer.param_groups[1]["weight_decay"] == 0.0


def test_the_same_bits_200_times_under_load():
    arrays, x = draw(5003, half_param=True), draw(200_003)["m"]
    with under_load():
        first, total = step(arrays), sum_squares(x)
        for _ in range(200):
            assert_equal(step(arrays, threads=2), first)
            assert sum_squares(x, threads=3) == total
