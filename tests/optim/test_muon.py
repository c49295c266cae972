import copy

import numpy as np
import pytest
import torch

from fasttrain.optim import muon_ref
from fasttrain.optim.muon import Muon, orthogonalize
from nn.made_error import on_threads

SHAPES = [(1, 1), (1, 7), (7, 1), (5, 5), (16, 40), (40, 16), (33, 64), (130, 70)]
SETTINGS = {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1}
EPS = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}


GROWTH = (muon_ref.A**muon_ref.STEPS - 1) / (muon_ref.A - 1)


def draw(shape, seed=41):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def polynomial(s):
    """What five steps make of a singular value."""
    for _ in range(muon_ref.STEPS):
        s = muon_ref.A * s + muon_ref.B * s**3 + muon_ref.C * s**5
    return s


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_changes_singular_values_alone(shape):
    x = draw(shape).double().numpy()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    expected = u * polynomial(s / np.linalg.norm(s)) @ vt
    np.testing.assert_allclose(muon_ref.orthogonalize(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_as_exact_as_their_dtype(shape, dtype):
    """By what an error of one step can become.

    A step maps an error of its input by at most its slope, a at 0 (3.4445), and rounds anew: e becomes a e + r, so that
    five steps end at most at (a^5 - 1) / (a - 1) r; r is a few roundings of a matrix of norm sqrt(min(n, m)).
    """
    x = draw(shape)
    got = orthogonalize(x, dtype=dtype)
    exact = muon_ref.orthogonalize(x.double().numpy())
    error = np.linalg.norm(got.double().numpy() - exact)
    assert error <= GROWTH * 4 * EPS[dtype] * np.sqrt(min(shape))
    assert got.dtype == dtype
    assert got.shape == x.shape


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (64, 64), (130, 70)])
def test_singular_values_end_near_one(shape, dtype):
    """Those above a 500th of the norm: the polynomial keeps them in the range that it has over a fine grid."""
    s = draw(shape, 43).double().numpy()
    u, _, vt = np.linalg.svd(s, full_matrices=False)
    values = np.geomspace(0.02, 1.0, min(shape))
    ends = polynomial(np.geomspace(0.002, 1.0, 100_000))
    got = np.linalg.svd(orthogonalize(torch.from_numpy((u * values) @ vt).float(), dtype=dtype).double().numpy())[1]
    assert ends.min() > 0.6
    assert ends.max() < 1.25
    slack = 30 * EPS[dtype]
    assert ends.min() - slack <= got.min()
    assert got.max() <= ends.max() + slack


def test_zeros_stay_zeros_and_scale_does_not_matter():
    assert not orthogonalize(torch.zeros(3, 5)).any()
    x = draw((12, 20))
    assert torch.equal(orthogonalize(x * 1024), orthogonalize(x))
    assert torch.equal(orthogonalize(x.T), orthogonalize(x).T)


def test_the_update_has_the_size_of_adamws():
    for shape in ((64, 64), (64, 256), (256, 64)):
        update = orthogonalize(draw(shape), dtype=torch.float32) * muon_ref.scale(shape)
        assert 0.15 < update.square().mean().sqrt().item() < 0.25


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_steps_equal_the_reference_and_torchs_muon(shape):
    p, q = (torch.nn.Parameter(draw(shape)) for _ in range(2))
    ours = Muon([p], **SETTINGS, dtype=torch.float32)
    theirs = torch.optim.Muon([q], **SETTINGS, nesterov=True, adjust_lr_fn="match_rms_adamw")  # its products are bf16
    param, buffer = draw(shape).double().numpy(), np.zeros(shape)
    for i in range(4):
        grad = draw(shape, 50 + i)
        p.grad, q.grad = 2 * grad, grad.clone()
        ours.step(grad_scale=0.5, zero_grad=True)
        theirs.step()
        muon_ref.muon(param, grad.double().numpy(), buffer, **SETTINGS)
        assert not p.grad.any()
    moved = np.linalg.norm(param - draw(shape).double().numpy())
    size, eps = SETTINGS["lr"] * muon_ref.scale(shape) * np.sqrt(min(shape)), EPS[torch.float32]
    bound = 4 * (eps * np.linalg.norm(param) + GROWTH * 4 * eps * size)  # a step: two roundings, and the update's error
    assert np.linalg.norm(p.detach().double().numpy() - param) < bound < 1e-3 * moved
    assert (p - q).norm() < 0.1 * moved, "of four steps with products in bf16"
    np.testing.assert_allclose(ours.state[p]["momentum_buffer"].numpy(), buffer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_threads_do_not_matter(dtype):
    x = draw((130, 70))
    first, *others = on_threads((1, 2, 3), lambda: orthogonalize(x, dtype=dtype))
    assert all(torch.equal(first, other) for other in others)


def test_a_loaded_state_goes_on_with_the_same_bits():
    p, q = (torch.nn.Parameter(draw((6, 9))) for _ in range(2))
    a, b = Muon([p], **SETTINGS), Muon([q], lr=9.0)
    for x, optimizer in ((p, a), (q, b)):
        if optimizer is b:
            q.data.copy_(p.data)
            b.load_state_dict(copy.deepcopy(a.state_dict()))
        for i in range(2 + (optimizer is a)):
            x.grad = draw((6, 9), 60 + i + (optimizer is b) * 3)
            optimizer.step()
    for i in range(2):
        p.grad = draw((6, 9), 63 + i)
        a.step()
    assert torch.equal(p, q)


@pytest.mark.parametrize(
    ("p", "keys", "error", "words"),
    [
        (torch.zeros(3), {}, ValueError, r"must be matrices, got shape \(3,\); give it to AdamW"),
        (torch.zeros(3, 2).half(), {}, TypeError, "must be contiguous float32 or bfloat16, got torch.float16"),
        (torch.zeros(3, 2).T, {}, TypeError, r"must be contiguous float32 or bfloat16, got .*, strides \(1, 2\)"),
        (torch.zeros(3, 2), {"momentum": 1.0}, ValueError, "momentum lie in"),
        (torch.zeros(3, 2), {"lr": -1.0}, ValueError, "lr and weight_decay must be at least 0"),
    ],
)
def test_refuses(p, keys, error, words):
    with pytest.raises(error, match=words):
        Muon([torch.nn.Parameter(p)], **keys)
