import numpy as np
import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn import attention_op
from fasttrain.nn.attention import attention
from fasttrain.nn.segments import key_ranges

OP = "attention"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
CASES = {  # B, Tq, Tk, H, Hkv, D, causal, documents
    "one query": (16, 1, 2, 2, 1, 16, True, False),
    "no query": (1, 0, 5, 2, 1, 16, False, False),
    "tail of every tile": (2, 67, 67, 2, 2, 48, True, False),
    "grouped": (2, 49, 49, 4, 2, 16, True, False),
    "multi-query, documents": (1, 200, 200, 3, 1, 64, True, True),
    "both directions, documents": (2, 131, 131, 2, 2, 32, False, True),
    "cross": (1, 50, 171, 2, 2, 32, False, False),
    "with a cache": (2, 5, 70, 4, 2, 80, True, False),
    "an odd head": (1, 97, 97, 2, 1, 22, True, False),
    "the widest head": (1, 70, 70, 1, 1, 256, True, False),
    "real": (1, 512, 512, 4, 2, 64, True, False),
}


def draw(case, dtype=torch.float32, seed=23):
    B, Tq, Tk, H, Hkv, D, causal, documents = CASES[case]
    g = torch.Generator().manual_seed(seed)
    q, k, v, dout = (
        torch.randn(s, generator=g).to(dtype) for s in [(B, Tq, H, D), *2 * [(B, Tk, Hkv, D)], (B, Tq, H, D)]
    )
    keys = {"causal": causal}
    if documents:  # some of them padding
        keys["segments"] = (torch.rand((B, Tq), generator=g) < 0.05).cumsum(1).int() - 1
    return (q, k, v, dout), keys


def run(tensors, keys, impl, dtype=None):
    q, k, v, dout = (x.detach().to(dtype or x.dtype) for x in tensors)
    for x in (q, k, v):
        x.requires_grad_()
    out = attention(q, k, v, impl=impl, **keys)
    out.backward(dout)
    return {"out": out.detach(), "dq": q.grad, "dk": k.grad, "dv": v.grad}


def hold_error(got, reference, exact, dtype):
    """Against fp64: at most twice the reference's error in the same dtype, plus one rounding of what the sums add up
    (dq of few queries nearly cancels, and is then smaller than the rounding of its terms)."""
    rounding = max(x.norm() for x in exact.values()) * torch.finfo(dtype).eps / 2
    for name, value in got.items():
        assert value.dtype == dtype
        ours, theirs = ((x[name].double() - exact[name]).norm() for x in (got, reference))
        assert ours <= 2 * theirs + rounding, name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", EVERY)
def test_error_against_float64(how, case):
    tensors, keys = draw(case)
    exact = run(tensors, keys, "reference", torch.float64)
    hold_error(run(tensors, keys, how), run(tensors, keys, "reference"), exact, torch.float32)


@pytest.mark.parametrize("how", NATIVE)
def test_error_against_float64_in_bfloat16(how):
    tensors, keys = draw("grouped", torch.bfloat16)
    exact = run(tensors, keys, "reference", torch.float64)
    hold_error(run(tensors, keys, how), run(tensors, keys, "reference"), exact, torch.bfloat16)


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    """Equal keys weigh equally: out[i] is the mean of v[0..i], dv[j] the sum over i >= j of 1 / (i + 1)."""
    q, k = torch.ones(1, 3, 1, 16), torch.ones(1, 3, 1, 16)
    v = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).expand(1, 3, 1, 16)
    got = run((q, k, v, torch.ones_like(q)), {"causal": True}, how)
    torch.testing.assert_close(got["out"][0, :, 0, 0], torch.tensor([1.0, 1.5, 3.0]))
    torch.testing.assert_close(got["dv"][0, :, 0, 0], torch.tensor([11 / 6, 5 / 6, 2 / 6]))
    torch.testing.assert_close(got["dq"], torch.zeros_like(q), atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", EVERY)
def test_padding_gives_zero_and_gets_zero(how):
    tensors, _ = draw("tail of every tile")
    segments = torch.zeros(2, 67, dtype=torch.int32)
    segments[:, 40:] = -1
    got = run(tensors, {"causal": True, "segments": segments}, how)
    for value in got.values():
        assert torch.equal(value[:, 40:], torch.zeros_like(value[:, 40:]))
        assert value.isfinite().all()


@pytest.mark.parametrize("how", EVERY)
def test_a_document_is_a_run_of_equal_ids(how):
    (q, k, v, _), _ = draw("tail of every tile")
    segments = torch.zeros(2, 67, dtype=torch.int32)
    segments[:, 20:50] = 7  # the third run has the first one's id, and is another document
    whole = attention(q, k, v, segments=segments, impl=how)
    for part in (slice(0, 20), slice(20, 50), slice(50, 67)):
        alone = attention(q[:, part], k[:, part], v[:, part], impl=how)
        torch.testing.assert_close(whole[:, part], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("case", ["grouped", "multi-query, documents", "real"])
def test_threads_do_not_matter(how, case):
    tensors, keys = draw(case)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(tensors, keys, how))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, value in other.items():
            assert torch.equal(value, results[0][name]), name


@pytest.mark.parametrize("how", NATIVE)
def test_scratch_is_not_read_before_it_is_written(how, monkeypatch):
    tensors, keys = draw("an odd head")
    expected = run(tensors, keys, how)
    work = attention_op._work
    monkeypatch.setattr(attention_op, "_work", lambda *a, **k: np.full_like(work(*a, **k), np.nan))
    for name, value in run(tensors, keys, how).items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(how, value):
    (q, k, v, _), _ = draw("grouped")
    q[1, 30, 2, 3] = value
    out = attention(q, k, v, impl=how)
    assert out[1, 30, 2].isnan().all()
    assert out[0].isfinite().all()


@pytest.mark.parametrize("how", NATIVE)
def test_large_scores_stay_finite(how):
    (q, k, v, dout), keys = draw("grouped")
    got = run((100 * q, 100 * k, v, dout), keys, how)
    assert all(x.isfinite().all() for x in got.values())


@pytest.mark.parametrize("how", NATIVE)
def test_strides_do_not_matter(how):
    (q, k, v, dout), keys = draw("real")
    expected = run((q, k, v, dout), keys, how)
    views = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v, dout)]
    for name, value in run(views, keys, how).items():
        assert torch.equal(value, expected[name]), name
    ones = run((q, k, v, torch.ones_like(dout)), keys, how)
    expanded = run((q, k, v, torch.ones(()).expand_as(dout)), keys, how)  # stride 0, as .sum().backward() gives
    for name, value in expanded.items():
        assert torch.equal(value, ones[name]), name


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    q, k, v = (torch.randn(2, 9, h, 16, requires_grad=True) for h in (4, 2, 2))
    lo, hi = key_ranges(9, 9, causal=True)
    torch.library.opcheck(attention_op.attention_op, (q, k, v, lo, hi, 0.25, 0.0, how))


def test_compiles_without_a_break():
    (q, k, v, _), keys = draw("grouped")
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, **keys) * 2, backend="aot_eager", fullgraph=True)
    q.requires_grad_()
    out = compiled(q, k, v)
    torch.testing.assert_close(out, 2 * attention(q, k, v, **keys))
    out.sum().backward()
    assert q.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_forward(case, dtype):
    (q, k, v, _), keys = draw(case, dtype)
    exact = attention(q.double(), k.double(), v.double(), impl="reference", **keys)
    on_device = {name: x.cuda() if isinstance(x, torch.Tensor) else x for name, x in keys.items()}
    got = attention(q.cuda(), k.cuda(), v.cuda(), impl="cuda", **on_device).cpu()
    hold_error({"out": got}, {"out": attention(q, k, v, impl="reference", **keys)}, {"out": exact}, dtype)


X = torch.zeros(1, 4, 2, 16)


@pytest.mark.parametrize(
    ("arguments", "keys", "error", "words"),
    [
        ((X.int(), X, X), {}, TypeError, "one floating dtype, got torch.int32"),
        ((X, X.bfloat16(), X), {}, TypeError, "q torch.float32|got torch.float32 and k torch.bfloat16"),
        ((X[0], X, X), {}, ValueError, r"q must have shape \(B, T, H, D\)"),
        ((X, X, X[:, :3]), {}, ValueError, "k and v must have shape"),
        ((X[:, :, :1], X, X), {}, ValueError, "H must be a multiple of Hkv, got H = 1 and Hkv = 2"),
        ((X, X[:, :3], X[:, :3]), {}, ValueError, "causal needs Tq <= Tk, got Tq = 4 and Tk = 3"),
        (
            (X, X, X),
            {"segments": torch.zeros(1, 3).int()},
            ValueError,
            r"segments must have shape \(1, 4\), got \(1, 3\)",
        ),
        ((X, X, X), {"segments": torch.zeros(1, 4)}, TypeError, "segments must have dtype int32"),
        ((X, X, X), {"impl": "mmx"}, ValueError, "impl 'mmx' cannot run here; choose from .*torch"),
        ((X, X, X), {"impl": "cuda"}, ValueError, "impl 'cuda' takes fp32 or bf16 on a GPU, got torch.float32 on cpu"),
        ((X.double(),) * 3, {"impl": "scalar"}, ValueError, "takes fp32, bf16 or fp16 on the CPU, got torch.float64"),
        ((torch.zeros(1, 4, 2, 260),) * 3, {"impl": "scalar"}, ValueError, "head dims up to 256, got 260"),
    ],
)
def test_refuses(arguments, keys, error, words):
    with pytest.raises(error, match=words):
        attention(*arguments, **keys)
