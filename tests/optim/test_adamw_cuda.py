import math

import numpy as np
import pytest
import torch

from fasttrain.optim import adamw_ref
from fasttrain.optim.adamw import AdamW, adamw_
from fasttrain.optim.adamw_cuda import adamw_cuda_, adamw_pieces_cuda_, clip_cuda, sum_squares_cuda
from fasttrain.optim.clip import clip_coefficient, global_norm
from fasttrain.optim.sum_squares import sum_squares
from made_card import ON_CARD, to_card
from optim.test_adamw import SETTINGS, draw
from optim.test_adamw import step as step_on_cpu

pytestmark = ON_CARD
SIZES = [0, 1, 3, 4099, 1_000_003]


def step_on_card(arrays, **keys):
    tensors = to_card(tuple(torch.from_numpy(a) for a in arrays))
    adamw_cuda_(*tensors, **SETTINGS | {"step": 3, "grad_scale": 0.37} | keys)
    return tensors


@pytest.mark.parametrize("size", SIZES)
def test_the_bits_of_the_cpu(size):
    arrays = draw(size)
    for got, expected in zip(step_on_card(arrays), step_on_cpu(arrays, impl="reference")):
        np.testing.assert_array_equal(got.cpu().numpy(), expected)


@pytest.mark.parametrize("size", SIZES)
def test_the_copy_the_zeros_and_a_scale_on_the_card(size):
    arrays = draw(size)
    copy = torch.full((size,), math.nan, dtype=torch.bfloat16, device="cuda")
    scale = torch.tensor([0.37], device="cuda")
    param, grad, m, v = step_on_card(arrays, grad_scale=scale, copy=copy, zero_grad=True)
    expected = step_on_cpu(arrays, impl="reference")
    for got, want in zip((param, m, v), (expected[0], expected[2], expected[3])):
        np.testing.assert_array_equal(got.cpu().numpy(), want)
    assert torch.equal(copy, param.bfloat16())
    assert not grad.any()


@pytest.mark.parametrize("zero_grad", [False, True])
def test_many_pieces_have_the_bits_of_each_alone(zero_grad):
    rates, together, alone = [0.1, 0.3], [], []
    for n, size in enumerate([*SIZES, 70_001]):
        settings = SETTINGS | {"step": 3, "grad_scale": 0.37, "lr": rates[n % 2]}
        tensors = to_card(tuple(torch.from_numpy(a) for a in draw(size, seed=n + 1)))
        copies = [torch.full((size,), math.nan, dtype=torch.bfloat16, device="cuda") if n % 3 else None] * 2
        if copies[0] is not None:
            copies[1] = copies[0].clone()
        other = tuple(x.clone() for x in tensors)
        together.append(((*tensors, copies[0]), settings))
        adamw_cuda_(*other, **settings, copy=copies[1], zero_grad=zero_grad)
        alone.append((*other, copies[1]))
    adamw_pieces_cuda_(together, zero_grad=zero_grad)
    for (got, _), expected in zip(together, alone, strict=True):
        assert all(x is y is None or torch.equal(x, y) for x, y in zip(got, expected, strict=True))
    adamw_pieces_cuda_([])


PLACES = [{}, {"seed": 2**63 + 11, "stream": 5, "offset": 12_345}]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", PLACES, ids=["plain", "placed"])
def test_bf16_parameters_are_rounded_by_the_draws_of_the_cpu(size, place):
    param, grad, m, v = draw(size)
    half = adamw_ref.nearest(param)
    on_cpu = [half.copy(), grad.copy(), m.copy(), v.copy()]
    adamw_(*on_cpu, **SETTINGS | {"step": 3, "grad_scale": 0.37} | place, zero_grad=True, impl="reference")
    tensors = [torch.from_numpy(half).view(torch.bfloat16).cuda(), *(torch.from_numpy(x).cuda() for x in (grad, m, v))]
    adamw_cuda_(*tensors, **SETTINGS | {"step": 3, "grad_scale": 0.37} | place, zero_grad=True)
    np.testing.assert_array_equal(tensors[0].view(torch.uint16).cpu().numpy(), on_cpu[0])
    for got, expected in zip(tensors[1:], on_cpu[1:]):
        np.testing.assert_array_equal(got.cpu().numpy(), expected)


def test_columns_on_the_card_are_drawn_as_in_the_whole_matrix():
    R, C = 37, 301
    param, grad, m, v = draw(R * C)
    whole = [adamw_ref.nearest(param), grad, m, v]

    def step_columns(begin, end):
        part = [torch.from_numpy(np.ascontiguousarray(x.reshape(R, C)[:, begin:end]).ravel()) for x in whole]
        tensors = [part[0].view(torch.bfloat16).cuda(), *(x.cuda() for x in part[1:])]
        place = {"offset": 1000 + begin, "width": end - begin, "pitch": C}
        adamw_cuda_(*tensors, **SETTINGS | {"step": 3, "grad_scale": 0.37, "seed": 3, "stream": 1} | place)
        return tensors[0].view(R, -1)

    expected = step_columns(0, C)
    for begin, end in ((0, 1), (1, 130), (130, 301)):
        assert torch.equal(step_columns(begin, end), expected[:, begin:end])


def test_a_buffer_that_begins_anywhere():
    arrays = draw(1001)
    tensors = [torch.zeros(1002, device="cuda")[1:].copy_(torch.from_numpy(a)) for a in arrays]
    adamw_cuda_(*tensors, **SETTINGS | {"step": 3, "grad_scale": 0.37})
    for got, expected in zip(tensors, step_on_cpu(arrays, impl="reference")):
        np.testing.assert_array_equal(got.cpu().numpy(), expected)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 65_535, 65_536, 65_537, 1_000_003])
def test_sums_of_squares_have_the_bits_of_the_cpu(size):
    x = draw(size)[1]
    assert sum_squares_cuda([torch.from_numpy(x).cuda()]) == [sum_squares(x)]


def test_many_tensors_are_told_apart():
    sizes = (0, 5, 0, 70_000, 1, 0)
    arrays = [draw(n, seed=n + 1)[0] for n in sizes]
    tensors = [torch.from_numpy(a).cuda() for a in arrays]
    assert sum_squares_cuda(tensors) == [sum_squares(a) for a in arrays]
    assert global_norm(tensors) == global_norm(torch.from_numpy(a) for a in arrays)


@pytest.mark.parametrize("count", [127, 128, 129, 300])
def test_more_tensors_than_one_launch_takes(count):
    """Of several blocks, of one and of none, in another order at each launch's ends."""
    arrays = [draw([0, 1, 65_537, 300][n % 4 if n % 128 else 0], seed=n + 1)[0] for n in range(count)]
    assert sum_squares_cuda([torch.from_numpy(a).cuda() for a in arrays]) == [sum_squares(a) for a in arrays]


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1e9])
def test_a_coefficient_that_stays_on_the_card(clip_norm):
    flat = torch.from_numpy(draw(1_000_003)[0]).cuda()
    norm = global_norm([flat])
    got = clip_cuda(flat, clip_norm).tolist()
    assert got == pytest.approx([norm, clip_coefficient(norm, clip_norm)], rel=torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_shows(value):
    x = torch.zeros(70_000, device="cuda")
    x[66_000] = value
    assert not math.isfinite(sum_squares_cuda([x])[0])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"copy": torch.zeros(4)}, TypeError, "adamw: copy must be torch.bfloat16 on param's CUDA device"),
        ({"step": 0}, ValueError, "adamw: step must be at least 1, got 0"),
        ({"grad_scale": torch.zeros(1)}, TypeError, "adamw: grad_scale must be one float32 on param's device"),
    ],
)
def test_refuses(change, error, words):
    with pytest.raises(error, match=words):
        step_on_card(draw(4), **change)


@pytest.mark.parametrize(
    ("dtype", "bf16"), [(torch.float32, "master"), (torch.bfloat16, "master"), (torch.bfloat16, "stochastic")]
)
def test_the_optimizer_gives_the_bits_of_the_cpu_and_leaves_gradients_where_they_are(dtype, bf16):
    """bf16 parameters beside their fp32 form or alone; a gradient is a view of a larger buffer, as in training."""
    start, grads = torch.from_numpy(draw(1003)[0]).to(dtype), torch.from_numpy(draw(1003)[1]).to(dtype)
    results = []
    for device in ("cpu", "cuda"):
        p, flat = torch.nn.Parameter(start.to(device, copy=True)), torch.cat([grads, grads]).to(device)
        p.grad = flat[:1003]
        optimizer = AdamW([p], **SETTINGS, bf16=bf16, seed=9)
        for _ in range(3):
            flat[:1003] = grads.to(device)
            optimizer.step(grad_scale=0.5, zero_grad=True)
            assert not flat[:1003].any()
        results.append((p.detach().cpu(), flat[1003:].cpu()))
    for x, y in zip(*results):
        assert torch.equal(x, y)
