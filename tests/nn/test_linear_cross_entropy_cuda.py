import math

import pytest
import torch

from fasttrain.nn import linear_cross_entropy_cuda as op
from fasttrain.nn.linear_cross_entropy import linear_cross_entropy, linear_token_loss
from made_card import ON_CARD, nobody_waits, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_linear_cross_entropy import DTYPES, LOSSES, SHAPES, draw, run, terms

pytestmark = ON_CARD
LONG = [(9, 16, 50257), (300, 64, 32768), (150, 40, 16393)]  # rounds of a block of threads over a row, whole and not


@pytest.fixture(autouse=True)
def _several_chunks(monkeypatch):
    """32 tokens a chunk for V = 131 in fp32. Products repeat themselves with a fixed workspace alone."""
    monkeypatch.setattr(op, "LOGITS_BYTES", 32 * 192 * 4)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_against_float64(dtype, shape, loss):
    hold(to_card(draw(*shape, dtype)), loss)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", LONG)
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows(monkeypatch, dtype, shape, loss):
    monkeypatch.setattr(op, "LOGITS_BYTES", 64 << 20)
    hold(to_card(draw(*shape, dtype)), loss)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_torch_does_not_add_to_fp32(monkeypatch, dtype):
    monkeypatch.setattr(op, "_adds_in_fp32", lambda device: False)
    hold(to_card(draw(70, 33, 131, dtype)), "even")


def hold(tensors, loss):
    exact = run(tensors, loss, "reference", torch.float64)
    got, theirs = run(tensors, loss, "cuda"), run(tensors, loss, "torch")
    hold_error(got, theirs, exact, terms=terms(tensors, loss))


def test_by_hand():
    """Equal logits: each of the four words has the probability 1/4."""
    x, weight = torch.zeros(3, 2, device="cuda", requires_grad=True), torch.ones(4, 2, device="cuda")
    targets = torch.tensor([1, -100, 3], device="cuda")
    nll, z2 = linear_token_loss(x, weight, targets, impl="cuda")
    log4 = math.log(4)
    torch.testing.assert_close(nll.cpu(), torch.tensor([log4, 0.0, log4]))
    torch.testing.assert_close(z2.cpu(), torch.tensor([log4**2, 0.0, log4**2]))
    weight.requires_grad_()
    loss = linear_cross_entropy(x + 1, weight, targets, impl="cuda")
    loss.backward()
    expected = torch.tensor([0.25, -0.25, 0.25, -0.25])[:, None].expand(4, 2)  # p - onehot, over two tokens
    torch.testing.assert_close(weight.grad.cpu(), expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_the_run_strides_or_scratch(dtype, loss):
    tensors = to_card(draw(70, 33, 131, dtype))
    first, others = run(tensors, loss, "cuda"), [run(tensors, loss, "cuda") for _ in range(50)]
    with poisoned_memory():
        others.append(run(tensors, loss, "cuda"))
    views = {name: x if x.ndim < 2 else x.T.contiguous().T for name, x in tensors.items()}
    views["targets"] = tensors["targets"][:, None].expand(-1, 2)[:, 0]
    for other in (*others, run(views, loss, "cuda")):
        assert_same_bits(other, first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_shows_in_its_token(dtype):
    t = to_card(draw(5, 3, 70, dtype))
    t["x"][0, 1] = math.nan
    got = run(t, "even", "cuda")
    assert got["nll"][0].isnan()
    assert got["dx"][0].isnan().all()
    assert got["nll"][1:].isfinite().all()
    assert got["dx"][1:].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_logits_stay_finite(dtype):
    t = to_card(draw(70, 33, 131, dtype))
    t["x"] *= 1e4
    assert all(x.isfinite().all() for x in run(t, "weighted", "cuda").values())


@pytest.mark.parametrize("weight_dtype", DTYPES)
def test_under_autocast_products_are_bf16_and_the_weight_gradient_has_its_dtype(weight_dtype):
    t = to_card(draw(70, 33, 131, torch.float32))
    t["weight"] = t["weight"].to(weight_dtype)
    exact, results = run(t, "even", "reference", torch.float64), {}
    for name in ("cuda", "torch"):
        with torch.autocast("cuda", torch.bfloat16):
            results[name] = run(t, "even", name)
    assert results["cuda"]["dweight"].dtype == weight_dtype
    hold_error(results["cuda"], results["torch"], exact)


def test_gradients_are_made_only_where_wanted():
    t = to_card(draw(70, 33, 131, torch.float32))
    expected = run(t, "even", "cuda")
    for wanted in ("x", "weight"):
        leaf = t[wanted].clone().requires_grad_()
        nll, z2 = linear_token_loss(**{**t, wanted: leaf}, z_loss=1e-2, impl="cuda")
        gradients = [f.cuda() for f in LOSSES["even"](t["targets"], None)]
        (got,) = torch.autograd.grad((nll, z2), leaf, gradients)
        assert torch.equal(got, expected[f"d{wanted}"])
    with torch.no_grad():
        assert torch.equal(linear_token_loss(**t, z_loss=1e-2, impl="cuda")[0], expected["nll"])


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_a_second_backward_has_the_bits_of_the_first(z_loss):
    t = to_card(draw(70, 33, 131, torch.float32))
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]
    loss = linear_cross_entropy(*leaves, t["targets"], z_loss=z_loss, impl="cuda")
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    for gradient in first:
        gradient.add_(1.0)  # what a caller does with the first ones does not reach the second
    for again, expected in zip(torch.autograd.grad(loss, leaves), kept, strict=True):
        assert torch.equal(again, expected)


def test_tokens_that_all_count_for_nothing():
    t = to_card(draw(5, 3, 70, torch.float32))
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]
    loss = linear_cross_entropy(*leaves, torch.full_like(t["targets"], -100), z_loss=0.5, impl="cuda")
    assert loss == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, leaves))


def test_a_gradient_of_the_gradient_is_refused():
    t = to_card(draw(5, 3, 70, torch.float32))
    x = t["x"].requires_grad_()
    loss = linear_cross_entropy(x, t["weight"], t["targets"], impl="cuda")
    (dx,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="linear_cross_entropy_backward"):
        dx.sum().backward()


def test_memory_is_a_chunk_of_logits_and_the_weight_in_bf16_whatever_the_tokens(monkeypatch):
    monkeypatch.setattr(op, "LOGITS_BYTES", 1 << 23)
    N, C, V = 6000, 64, 8000
    t = to_card(draw(N, C, V, torch.float32))
    x, weight = t["x"].bfloat16().requires_grad_(), t["weight"].requires_grad_()

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            linear_cross_entropy(x, weight, t["targets"], z_loss=1e-2, impl="cuda").backward()

    step()  # what the library takes once: the products' workspace, the question what it can add
    x.grad = weight.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    gradients = x.nbytes + weight.nbytes  # as kept for backward, and as given away
    assert torch.cuda.max_memory_allocated() - before <= 2 * gradients + (1 << 23) + weight.nbytes // 2 + 128 * N


@pytest.mark.parametrize("target", [-1, 70])
def test_a_target_that_is_no_word_is_refused(target):
    t = to_card(draw(5, 3, 70, torch.float32))
    t["targets"][1] = target
    with pytest.raises(ValueError, match=rf"targets must be -100 or lie in \[0, 70\), got {target}"):
        linear_token_loss(**t)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_promise_spares_the_waits_and_changes_no_bit(dtype, z_loss):
    t = to_card(draw(70, 33, 131, dtype))
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]

    def gradients(even, factor=0.37):
        nll, z2 = linear_token_loss(*leaves, t["targets"], z_loss=z_loss, even=even, impl="cuda")
        return torch.autograd.grad((nll.sum() + z_loss * z2.sum()) * factor, leaves)

    expected = gradients(False)
    with nobody_waits():
        got = gradients(True)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
        assert a.any()


def test_a_broken_promise_gives_nan():
    t = to_card(draw(70, 33, 131, torch.float32))
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]
    for weights in (torch.rand(70, device="cuda"), torch.ones(70, device="cuda")):
        nll, z2 = linear_token_loss(*leaves, t["targets"], z_loss=1e-2, even=True, impl="cuda")
        loss = (nll * weights).sum() + (2e-2 if weights[0] == 1 else 1e-2) * z2.sum()  # another weight of z2
        assert all(gradient.isnan().all() for gradient in torch.autograd.grad(loss, leaves))
    for target in (-1, -(2**40), 131, 2**40):
        t["targets"][1] = target
        nll, z2 = linear_token_loss(*leaves, t["targets"], z_loss=1e-2, even=True, impl="cuda")
        assert nll.isnan().nonzero().tolist() == [[1]]
        dx, dweight = torch.autograd.grad(nll.sum() + 1e-2 * z2.sum(), leaves)
        assert dx[1].isnan().all()
        assert not dx[2:].isnan().any()
        assert dweight.isnan().all()


def test_opcheck():
    t = to_card(draw(5, 3, 70, torch.float32))
    x, weight = t["x"].requires_grad_(), t["weight"].requires_grad_()
    torch.library.opcheck(op.linear_cross_entropy_op.overload, (x, weight, t["targets"], 0.1, True, True, False))
    factors = [torch.rand(5, device="cuda") for _ in range(2)]
    gradients = torch.ones(5, 3, device="cuda"), torch.ones(70, 3, device="cuda")
    detached = x.detach(), weight.detach(), t["targets"]
    torch.library.opcheck(op.linear_cross_entropy_backward_op.overload, (*factors, *detached, *gradients, 0.1, False))
    even = factors[0][:1].expand(5).contiguous(), factors[0][:1].expand(5) * 0.1
    torch.library.opcheck(op.linear_cross_entropy_backward_op.overload, (*even, *detached, *gradients, 0.1, True))


def test_compiles_without_a_break():
    t = to_card(draw(70, 33, 131, torch.float32))
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]

    def loss(x, weight):
        return linear_cross_entropy(2 * x, weight, t["targets"], z_loss=1e-2)

    results = [f(*leaves) for f in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves) for y in results))
