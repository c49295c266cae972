import numpy as np
import pytest
import torch

from fasttrain.optim.muon import Muon, muon_step_, orthogonalize
from fasttrain.optim.muon_cuda import muon_step_cuda_
from made_card import ON_CARD, nobody_waits
from optim.test_muon_passes import STEP, arrays, by_halves

pytestmark = ON_CARD


def to_card(array):
    x = torch.from_numpy(array)
    return (x.view(torch.bfloat16) if x.dtype == torch.uint16 else x).cuda()


def from_card(x):
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).cpu().numpy()


@by_halves
@pytest.mark.parametrize("size", [0, 1, 3, 4099, 1_000_003])
@pytest.mark.parametrize("place", [{}, {"offset": 12_345}])
def test_a_step_has_the_bits_of_the_cpu(halves, size, place):
    param, update = arrays(size, halves)
    on_card = to_card(param)
    muon_step_cuda_(on_card, to_card(update), **STEP | place)
    muon_step_(param, update, **STEP | place, impl="reference")
    np.testing.assert_array_equal(from_card(on_card), param)


def test_columns_on_the_card_are_drawn_as_in_the_whole_matrix():
    R, C = 37, 301
    whole = [to_card(x).view(R, C) for x in arrays(R * C, (True, False))]
    expected = whole[0].clone()
    muon_step_cuda_(expected.view(-1), whole[1].view(-1), **STEP)
    for begin, end in ((0, 1), (1, 130), (130, 301)):
        param, update = (x[:, begin:end].contiguous() for x in whole)
        muon_step_cuda_(param, update, **STEP | {"offset": begin, "width": end - begin, "pitch": C})
        assert torch.equal(param, expected[:, begin:end])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_optimizer_is_that_of_the_cpu_but_for_its_products(dtype, monkeypatch):
    monkeypatch.setattr("fasttrain.optim.muon.orthogonalize", lambda x, dtype: x)
    g = torch.Generator().manual_seed(1)
    start, grads = (torch.randn(33, 70, generator=g).to(dtype) for _ in range(2))
    results = []
    for device in ("cpu", "cuda"):
        p = torch.nn.Parameter(start.to(device, copy=True))
        optimizer = Muon([p], lr=1e-2, seed=9)
        for _ in range(3):
            p.grad = grads.to(device, copy=True)
            optimizer.step(grad_scale=0.5, zero_grad=True)
            assert not p.grad.any()
        results.append(p.detach().cpu())
    assert torch.equal(*results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 5), (96, 40), (64, 256), (128, 128)])
def test_products_are_as_near_to_exact_as_the_cpus(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    exact = orthogonalize(x.double(), dtype=torch.float64)
    ours, theirs = (orthogonalize(y, dtype=dtype).double().cpu() for y in (x.cuda(), x))
    rounding = torch.finfo(dtype).eps * exact.norm()
    assert (ours - exact).norm() <= 2 * (theirs - exact).norm() + rounding
    assert not orthogonalize(torch.zeros(shape, device="cuda"), dtype=dtype).any()


def test_nobody_waits_for_the_card():
    p = torch.nn.Parameter(torch.randn(33, 70, device="cuda"))
    p.grad, optimizer = torch.randn_like(p), Muon([p])
    optimizer.step()  # kernels are loaded
    with nobody_waits():
        optimizer.step(grad_scale=0.5, zero_grad=True)


@pytest.mark.parametrize(
    ("update", "keys", "error", "words"),
    [
        (torch.zeros(4), {}, TypeError, "muon: update must be float32 or bfloat16 on param's CUDA device"),
        (torch.zeros(3, device="meta"), {}, TypeError, "on param's CUDA device, got torch.float32 on meta"),
        (None, {"step": 0}, ValueError, "muon: step must be at least 1, got 0"),
        (None, {"stream": -1}, ValueError, "muon: step and stream must be below"),
    ],
)
def test_refuses(update, keys, error, words):
    param = torch.zeros(4, device="cuda")
    with pytest.raises(error, match=words):
        muon_step_cuda_(param, param if update is None else update, **STEP | keys)
