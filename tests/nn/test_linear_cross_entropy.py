import math

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

import fasttrain
from fasttrain.core import backend, pages
from fasttrain.nn import linear_cross_entropy_op as op
from fasttrain.nn import linear_cross_entropy_products as products
from fasttrain.nn.arrays import array
from fasttrain.nn.linear_cross_entropy import linear_cross_entropy, linear_token_loss
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "linear_cross_entropy"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
FUSED = backend.native("linear_loss_impls")() if NATIVE else []
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(0, 4, 7), (1, 1, 1), (3, 0, 5), (5, 3, 70), (70, 33, 131), (64, 48, 1000)]  # N, C, V
LOSSES = {  # dnll, dz2 for z_loss 1e-2: of a mean, of tokens with weights of their own
    "even": lambda t, g: (torch.full(t.shape, 0.3), torch.full(t.shape, 0.3e-2)),
    "weighted": lambda t, g: (torch.rand(t.shape, generator=g), torch.rand(t.shape, generator=g) * 1e-2),
    "z alone": lambda t, g: (torch.zeros(t.shape), torch.full(t.shape, 1e-2)),
}


@pytest.fixture(autouse=True)
def _several_chunks_and_tiles(monkeypatch):
    """As long texts and large vocabularies have them: 32 tokens a chunk for V = 131, some words a tile."""
    monkeypatch.setattr(op, "LOGITS_BYTES", 32 * 131 * 4)
    monkeypatch.setattr(products, "TILE_BYTES", 2048)


def draw(N, C, V, dtype, seed=41):
    g = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, V, (N,), generator=g)
    targets[2:4] = -100
    x, weight = torch.randn(N, C, generator=g).to(dtype), (torch.randn(V, C, generator=g) / max(C, 1) ** 0.25).to(dtype)
    return {"x": x, "weight": weight, "targets": targets}


def run(tensors, loss, how, dtype=None):
    x, weight = (tensors[name].detach().to(dtype or tensors[name].dtype).requires_grad_() for name in ("x", "weight"))
    nll, z2 = linear_token_loss(x, weight, tensors["targets"], z_loss=1e-2, impl=how)
    factors = LOSSES[loss](tensors["targets"], torch.Generator().manual_seed(5))
    dx, dweight = torch.autograd.grad((nll, z2), (x, weight), [f.to(nll) for f in factors])
    return {"nll": nll.detach(), "z2": z2.detach(), "dx": dx, "dweight": dweight}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", [*NATIVE, "reference"])
def test_error_against_float64(how, dtype, shape, loss):
    tensors = draw(*shape, dtype)
    exact = run(tensors, loss, "reference", torch.float64)
    hold_error(run(tensors, loss, how), run(tensors, loss, "torch"), exact, terms=terms(tensors, loss))


def terms(tensors, loss):
    """What dx and dweight are sums of: of a token whose loss is nearly 0 they nearly cancel (softmax - onehot)."""
    x, weight, targets = (tensors[name] for name in ("x", "weight", "targets"))
    dnll, _ = LOSSES[loss](targets, torch.Generator().manual_seed(5))
    onehot = F.one_hot(targets.clamp(min=0), len(weight)).double() * (dnll.to(x.device) * (targets >= 0))[:, None]
    return {"dx": onehot @ weight.double(), "dweight": onehot.T @ x.double()}


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    """Equal logits: each of the four words has the probability 1/4."""
    x, weight = torch.zeros(3, 2, requires_grad=True), torch.ones(4, 2, requires_grad=True)
    targets = torch.tensor([1, -100, 3])
    nll, z2 = linear_token_loss(x, weight, targets, impl=how)
    log4 = math.log(4)
    torch.testing.assert_close(nll, torch.tensor([log4, 0.0, log4]))
    torch.testing.assert_close(z2, torch.tensor([log4**2, 0.0, log4**2]))
    loss = linear_cross_entropy(x + 1, weight, targets, impl=how)
    torch.testing.assert_close(loss, torch.tensor(log4))
    loss.backward()
    expected = torch.tensor([0.25, -0.25, 0.25, -0.25])[:, None].expand(4, 2)  # p - onehot, over two tokens
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("how", EVERY)
def test_reductions(how):
    t = draw(5, 3, 70, torch.float32)
    nll, z2 = linear_token_loss(*t.values(), impl=how)
    each = linear_cross_entropy(*t.values(), z_loss=0.5, reduction="none", impl=how)
    torch.testing.assert_close(each, nll + 0.5 * z2)
    torch.testing.assert_close(linear_cross_entropy(*t.values(), z_loss=0.5, reduction="sum", impl=how), each.sum())
    torch.testing.assert_close(linear_cross_entropy(*t.values(), z_loss=0.5, impl=how), each.sum() / 3)
    nothing = torch.full((5,), -100)
    assert linear_cross_entropy(t["x"], t["weight"], nothing, z_loss=0.5, impl=how) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_strides_or_scratch(how, dtype, loss):
    tensors = draw(70, 33, 131, dtype)
    first = run(tensors, loss, how)
    with poisoned_memory():
        assert_same_bits(run(tensors, loss, how), first)
    views = {name: x if x.ndim < 2 else x.T.contiguous().T for name, x in tensors.items()}
    views["targets"] = tensors["targets"][:, None].expand(-1, 2)[:, 0]
    assert_same_bits(run(views, loss, how), first)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("how", NATIVE)
def test_threads_do_not_matter_in_bf16(how, loss):
    tensors = draw(70, 33, 131, torch.bfloat16)
    first, *others = on_threads((1, 2, 3), lambda: run(tensors, loss, how))
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_threads_do_not_matter_between_the_products(how, dtype):
    """Alone: torch's fp32 products (MKL) have other last bits with other numbers of threads."""
    t = draw(70, 33, 131, dtype)

    def logits_to_gradient(threads):
        logits, nll, z2 = (t["x"] @ t["weight"].T).contiguous(), torch.empty(70), torch.empty(70)
        factors = LOSSES["weighted"](t["targets"], torch.Generator().manual_seed(5))
        arrays = [array(x) for x in (logits, t["targets"], *factors, nll, z2)]
        backend.native(OP)(*arrays, 0.0, True, threads, how)
        return {"nll": nll, "z2": z2, "dlogits": logits}

    first, *others = (logits_to_gradient(threads) for threads in (1, 2, 3))
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    tensors = draw(70, 33, 131, torch.bfloat16)
    hold_the_same_bits(lambda: run(tensors, "weighted", how))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", EVERY)
def test_what_is_not_finite_shows_in_its_token(how, dtype):
    t = draw(5, 3, 70, dtype)
    t["x"][0, 1] = math.nan
    got = run(t, "even", how)
    assert got["nll"][0].isnan()
    assert got["dx"][0].isnan().all()
    assert got["nll"][1:].isfinite().all()
    assert got["dx"][1:].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_large_logits_stay_finite(how, dtype):
    t = draw(70, 33, 131, dtype)
    t["x"] *= 1e4
    assert all(x.isfinite().all() for x in run(t, "weighted", how).values())


@pytest.mark.parametrize("how", NATIVE)
def test_under_autocast_products_are_bf16_and_the_weight_gradient_is_fp32(how):
    t = draw(70, 33, 131, torch.float32)
    results = {}
    for name in (how, "torch"):
        with torch.autocast("cpu", torch.bfloat16):
            results[name] = run(t, "even", name)
    assert results[how]["dweight"].dtype == torch.float32
    hold_error(results[how], results["torch"], run(t, "even", "reference", torch.float64))


@pytest.mark.parametrize("how", NATIVE)
def test_gradients_are_made_only_where_wanted(how):
    t = draw(70, 33, 131, torch.float32)
    expected = run(t, "even", how)
    for wanted in ("x", "weight"):
        leaf = t[wanted].clone().requires_grad_()
        nll, z2 = linear_token_loss(**{**t, wanted: leaf}, z_loss=1e-2, impl=how)
        gradients = LOSSES["even"](t["targets"], None)
        (got,) = torch.autograd.grad((nll, z2), leaf, gradients)
        assert torch.equal(got, expected[f"d{wanted}"])
    with torch.no_grad():
        assert torch.equal(linear_token_loss(**t, z_loss=1e-2, impl=how)[0], expected["nll"])


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
@pytest.mark.parametrize("how", NATIVE)
def test_a_second_backward_has_the_bits_of_the_first(how, z_loss):
    t = draw(70, 33, 131, torch.float32)
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]
    loss = linear_cross_entropy(*leaves, t["targets"], z_loss=z_loss, impl=how)
    kept = [loss.clone(), *torch.autograd.grad(loss, leaves, retain_graph=True)]
    for gradient in kept[1:]:
        gradient.add_(1.0)  # what a caller does with the first ones does not reach the second
    loss.backward(retain_graph=True)
    for leaf, first in zip(leaves, kept[1:], strict=True):
        assert torch.equal(leaf.grad + 1.0, first)
    loss.backward()  # and adds up
    for leaf, first in zip(leaves, kept[1:], strict=True):
        torch.testing.assert_close(leaf.grad / 2 + 1.0, first)


@pytest.mark.parametrize("how", NATIVE)
def test_one_of_the_two_losses_alone(how):
    """nll alone and z2 alone: the other's gradient does not exist."""
    t = draw(70, 33, 131, torch.float32)
    for place in (0, 1):
        results = []
        for name in (how, "reference"):
            leaves = [t[key].clone().requires_grad_() for key in ("x", "weight")]
            value = linear_token_loss(*leaves, t["targets"], z_loss=1e-2, impl=name)[place]
            results.append(torch.autograd.grad(value.sum(), leaves))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", NATIVE)
def test_a_gradient_of_the_gradient_is_refused(how):
    t = draw(5, 3, 70, torch.float32)
    x = t["x"].requires_grad_()
    loss = linear_cross_entropy(x, t["weight"], t["targets"], impl=how)
    (dx,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="linear_cross_entropy_backward"):
        dx.sum().backward()


def peak_bytes(run):
    """The most that torch's allocator held for `run` at one time."""
    with pages.torchs(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    held = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest


@pytest.mark.parametrize(("x_dtype", "weight_dtype"), [(a, b) for a in DTYPES for b in DTYPES])
@pytest.mark.parametrize("how", NATIVE)
def test_memory_is_a_chunk_of_logits_a_tile_and_lower_halves_whatever_the_tokens(
    how, x_dtype, weight_dtype, monkeypatch
):
    """Beyond the gradients, each in its own dtype; the weight is not copied, nor its gradient."""
    monkeypatch.setattr(op, "LOGITS_BYTES", 1 << 20)
    monkeypatch.setattr(op, "FEWEST_BYTES", 1 << 20)
    monkeypatch.setattr(products, "TILE_BYTES", 1 << 18)
    N, C, V = 600, 64, 8000
    t = draw(N, C, V, torch.float32)
    x, weight = t["x"].to(x_dtype).requires_grad_(), t["weight"].to(weight_dtype).requires_grad_()

    def run():
        with torch.autocast("cpu", torch.bfloat16):
            linear_cross_entropy(x, weight, t["targets"], z_loss=1e-2, impl=how).backward()

    gradients = x.nbytes + weight.nbytes
    halves = weight.numel() * 2 if weight_dtype == torch.bfloat16 else 0
    chunk = (1 << 20) + (2 << 18)  # logits, a tile, and what a product takes
    assert peak_bytes(run) <= gradients + halves + chunk + 64 * N, "64 bytes a token for losses and factors"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("how", NATIVE)
def test_sums_in_halves_are_fp32_bit_for_bit(how, keep, dtype):
    """Sums, parts and gradients of every size that fp32 has, 131 of them: whole vectors and a tail."""
    g = torch.Generator().manual_seed(7)
    before = torch.randn(131, generator=g) * 10.0 ** torch.randint(-30, 30, (131,), generator=g)
    part = (torch.randn(131, generator=g) * before.abs()).to(dtype)
    expected = before + part.float() if keep else part.float()
    bits = before.view(torch.int32)
    upper, lower = ((bits >> 16) & 0xFFFF).to(torch.uint16), (bits & 0xFFFF).to(torch.uint16)
    whole = before.clone()
    backend.native("accumulate")(array(part), array(whole), None, keep, 1, how)
    backend.native("accumulate")(array(part), array(upper), array(lower), keep, 1, how)
    assert torch.equal(whole, expected)
    assert torch.equal((upper.int() << 16 | lower.int()).view(torch.float32), expected)
    gradient = upper.view(torch.bfloat16)
    products.finish(gradient, lower, 0.3, how)
    assert torch.equal(gradient, (expected * torch.tensor(0.3)).bfloat16())


def fused(how, threads, x, weight, targets, dnll, dz2, before):
    """linear_loss and linear_dweight of one chunk, all that they write poisoned; dweight's sums begin with `before`."""
    (N, C), V = x.shape, len(weight)
    nan, bits = math.nan, before.view(torch.int32)
    nll, z2, factors, dx = (torch.full(shape, nan) for shape in ((N,), (N,), (3, N), (N, C)))
    dx = dx.bfloat16()
    exps = torch.full((-(-N // 64), (V + 1) // 2, 64), 0xFFFFFFFF, dtype=torch.uint32)
    size = backend.native("linear_loss_work")(N, C, weight.dtype != torch.bfloat16, threads)
    work = torch.full((size,), 0xFFFFFFFF, dtype=torch.uint32)
    given = [array(t) for t in (x, weight, targets, dnll, dz2)]
    backend.native("linear_loss")(*given, *(array(t) for t in (nll, z2, factors, exps, dx, work)), 0.0, threads, how)
    whole, upper, lower = before.clone(), (bits >> 16 & 0xFFFF).to(torch.uint16), (bits & 0xFFFF).to(torch.uint16)
    for sums, half in ((whole, None), (upper, array(lower))):
        arrays = (array(t) for t in (exps, factors, x, targets, sums))
        backend.native("linear_dweight")(*arrays, half, array(work), True, threads, how)
    assert torch.equal((upper.int() << 16 | lower.int()).view(torch.float32), whole)
    return {"nll": nll, "z2": z2, "dx": dx, "dweight": whole}


@pytest.mark.parametrize("far", [0.0, 25.0, 200.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 200, 97), (70, 17, 191), (517, 64, 515), (258, 131, 1024)])
@pytest.mark.parametrize("how", FUSED)
def test_fused_errors_are_roundings_of_softmax_and_x(how, shape, far):
    """By element, against float64: bf16(e), bf16(scale x), bf16(dx) and fp32 sums; nothing of the target's own term.

    `far`: how much one word's logit, for some tokens, is above what the others, and a sample of them, lead to expect.
    """
    N, C, V = shape
    g = torch.Generator().manual_seed(11)
    x, before = torch.randn(N, C, generator=g).bfloat16(), torch.randn(V, C, generator=g)
    weight = torch.randn(V, C, generator=g) / C**0.5
    if far:
        weight[V // 2 + 1 :: V] = far / C * x[0].float().sign()
    targets = torch.randint(0, V, (N,), generator=g)
    targets[2:4] = -100
    dnll, dz2 = torch.rand(N, generator=g), torch.rand(N, generator=g) * 1e-2
    got = fused(how, 1, x, weight, targets, dnll, dz2, before)
    cast = weight.bfloat16()
    for threads, matrix in ((1, cast), (3, cast), (40, weight)):
        assert_same_bits(fused(how, threads, x, matrix, targets, dnll, dz2, before), got)

    X, matrix, kept = x.double(), cast.double(), (targets >= 0).double()
    logits = X @ matrix.T
    lse = logits.logsumexp(1)
    nll = (lse - logits.gather(1, targets.clamp(min=0)[:, None])[:, 0]) * kept
    softmax = (logits - lse[:, None]).exp() * ((dnll + 2 * lse * dz2) * kept)[:, None]
    onehot = F.one_hot(targets.clamp(min=0), V) * (dnll * kept)[:, None]
    u16, u32 = 2.0**-8, 2.0**-24
    logit = (C + 4) * u32 * (X.abs() @ matrix.T.abs()).amax(1)  # of each: C products and additions
    loss = 3 * logit + u32 * (V + 100 + 4 * logits.abs().amax(1))  # and of sums, their logarithm, differences
    assert ((got["nll"] - nll).abs() <= loss).all()
    assert ((got["z2"] - lse.square() * kept).abs() <= 3 * (lse.abs() + 1) * loss).all()
    fp32 = 4 * loss[:, None] + (V + N) * u32
    dlogits, size = softmax - onehot, softmax.abs() * (u16 + fp32) + onehot * fp32
    dx = dlogits @ matrix
    assert ((got["dx"] - dx).abs() <= u16 * dx.abs() + 1.01 * size @ matrix.abs()).all()
    size = softmax.abs() * (2 * u16 + fp32) + onehot * fp32
    error = (got["dweight"] - before - dlogits.T @ X).abs()
    assert (error <= N * u32 * before.abs() + 1.01 * size.T @ X.abs()).all()


@pytest.mark.parametrize("how", FUSED)
def test_an_ignored_token_that_is_not_finite_reaches_nothing(how):
    t = draw(70, 33, 131, torch.bfloat16)
    expected = run(t, "weighted", how)
    t["x"][2] = math.nan
    assert_same_bits(run(t, "weighted", how), expected)


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_sums_by_source_are_those_of_each_source_alone(how, reduction):
    t = draw(70, 33, 131, torch.float32)
    sources = torch.randint(0, 3, (70,), generator=torch.Generator().manual_seed(3))  # source 3 has no token
    keys = {"z_loss": 1e-2, "reduction": reduction, "impl": how}
    loss, sums, tokens = linear_cross_entropy(**t, sources=sources, num_sources=4, **keys)
    assert torch.equal(loss, linear_cross_entropy(**t, **keys))
    nll = linear_cross_entropy(**t, reduction="none", impl=how).double()
    for source in range(4):
        kept = (sources == source) & (t["targets"] != -100)
        assert tokens[source] == kept.sum()
        assert sums[source].item() == pytest.approx(nll[kept].sum().item(), rel=1e-14)
    assert (sums.dtype, tokens.dtype, tokens[3].item()) == (torch.float64, torch.int64, 0)


def test_a_source_that_is_none_is_refused():
    t = draw(5, 3, 70, torch.float32)
    for sources, words in (
        (torch.full((5,), 2), r"must lie in \[0, 2\)"),
        (torch.zeros(4).long(), "must have one shape"),
    ):
        with pytest.raises(ValueError, match=words):
            linear_cross_entropy(**t, sources=sources, num_sources=2)


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    t = draw(5, 3, 70, torch.float32)
    x, weight = t["x"].requires_grad_(), t["weight"].requires_grad_()
    torch.library.opcheck(op.linear_cross_entropy_op.overload, (x, weight, t["targets"], 0.1, True, True, False, how))
    gradients = torch.ones(5, 3), torch.ones(70, 3), torch.empty(0, 0, dtype=torch.uint16)
    factors = torch.rand(5), torch.rand(5)
    detached = x.detach(), weight.detach(), t["targets"]
    torch.library.opcheck(op.linear_cross_entropy_backward_op.overload, (*gradients, *factors, *detached, 0.1, how))


def test_compiles_without_a_break():
    t = draw(70, 33, 131, torch.float32)
    leaves = [t[name].requires_grad_() for name in ("x", "weight")]

    def loss(x, weight):
        return linear_cross_entropy(2 * x, weight, t["targets"], z_loss=1e-2)

    results = [f(*leaves) for f in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves) for y in results))


X, W, T = torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "keys", "error", "words"),
    [
        (
            (X, W[:, :2], T),
            {},
            ValueError,
            r"x must have shape \(..., C\) and weight \(V, C\), got \(2, 3\) and \(5, 2\)",
        ),
        ((X, W[:0], T), {}, ValueError, r"got \(2, 3\) and \(0, 3\)"),
        ((X, W, T[:1]), {}, ValueError, r"targets must have shape \(2,\), got \(1,\)"),
        ((X, W, T.to("meta")), {}, ValueError, "must be on one device, got cpu, cpu and meta"),
        ((X, W, T.int()), {}, TypeError, "targets must have dtype int64, got torch.int32"),
        ((X, W, T + 5), {"impl": "scalar"}, ValueError, r"targets must be -100 or lie in \[0, 5\), got 5"),
        ((X, W, T - 1), {"impl": "scalar"}, ValueError, r"targets must be -100 or lie in \[0, 5\), got -1"),
        ((X, W, T), {"impl": "mmx"}, ValueError, "impl 'mmx' cannot run here; choose from .*torch"),
        (
            (X.double(), W.double(), T),
            {"impl": "scalar"},
            ValueError,
            "takes fp32 or bf16 on the CPU, got torch.float64",
        ),
        ((X, W, T), {"reduction": "max"}, ValueError, "reduction must be 'mean', 'sum' or 'none', got 'max'"),
    ],
)
def test_refuses(arguments, keys, error, words):
    with pytest.raises(error, match=words):
        fasttrain.linear_cross_entropy(*arguments, **keys)
