import numpy as np
import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn import attention_op
from fasttrain.nn.attention import attention
from fasttrain.nn.segments import key_ranges
from made_card import HAS_CARD
from nn.made_error import assert_same_bits, poisoned_memory, under_load

OP = "attention"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
CASES = {  # B, Tq, Tk, H, Hkv, D, keys of attention
    "one query": (16, 1, 2, 2, 1, 16, {}),
    "no query": (1, 0, 5, 2, 1, 16, {"causal": False}),
    "no key": (1, 40, 0, 2, 1, 16, {"causal": False}),
    "no row": (0, 40, 40, 2, 1, 16, {}),
    "tail of every tile": (2, 67, 67, 2, 2, 48, {}),
    "grouped": (2, 49, 49, 4, 2, 16, {}),
    "multi-query, documents": (1, 200, 200, 3, 1, 64, {"segments": 0.05}),
    "both directions, documents": (2, 131, 131, 2, 2, 32, {"causal": False, "segments": 0.05}),
    "cross": (1, 50, 171, 2, 2, 32, {"causal": False}),
    "with a cache": (2, 5, 70, 4, 2, 80, {}),
    "a long cache": (1, 2, 1500, 4, 1, 64, {}),
    "one query, a long cache": (2, 1, 1501, 4, 4, 64, {}),
    "two queries, a long cache": (1, 2, 700, 3, 3, 80, {}),
    "three of a head, a long cache": (1, 1, 1030, 6, 2, 48, {}),
    "four of a head, window and softcap": (3, 2, 1100, 4, 2, 32, {"window": 601, "softcap": 1.5}),
    "an odd head": (1, 97, 97, 2, 1, 22, {}),
    "head of 40": (1, 97, 97, 2, 1, 40, {}),
    "the widest head": (1, 70, 70, 1, 1, 256, {}),
    "window": (1, 300, 300, 2, 1, 32, {"window": 37}),
    "window of two": (1, 70, 70, 2, 1, 16, {"window": 2}),
    "window, both directions": (1, 300, 300, 2, 2, 16, {"window": 20, "causal": False}),
    "window with a cache": (1, 40, 333, 2, 1, 16, {"window": 100}),
    "cu_seqlens": (2, 150, 150, 2, 1, 32, {"cu_seqlens": [0, 3, 70, 70, 200, 290]}),
    "softcap": (1, 160, 160, 2, 1, 64, {"softcap": 1.5}),
    "softcap with a cache": (1, 3, 160, 4, 1, 32, {"softcap": 1.5}),
    "negative scale": (1, 70, 70, 2, 1, 32, {"scale": -0.3}),
    "real": (1, 512, 512, 4, 2, 64, {}),
}
FEW = [case for case in CASES if case.startswith(("one query, ", "two queries, ", "three of ", "four of "))]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def draw(case, dtype=torch.float32, seed=23):
    B, Tq, Tk, H, Hkv, D, keys = CASES[case]
    g = torch.Generator().manual_seed(seed)
    q, k, v, dout = (
        torch.randn(s, generator=g).to(dtype) for s in [(B, Tq, H, D), *2 * [(B, Tk, Hkv, D)], (B, Tq, H, D)]
    )
    if "segments" in keys:  # some of them padding
        keys = keys | {"segments": (torch.rand((B, Tq), generator=g) < keys["segments"]).cumsum(1).int() - 1}
    if "cu_seqlens" in keys:
        keys = keys | {"cu_seqlens": torch.tensor(keys["cu_seqlens"], dtype=torch.int32)}
    return (q, k, v, dout), keys


def run(tensors, keys, impl, dtype=None):
    q, k, v, dout = (x.detach().to(dtype or x.dtype) for x in tensors)
    for x in (q, k, v):
        x.requires_grad_()
    out = attention(q, k, v, impl=impl, **keys)
    out.backward(dout)
    return {"out": out.detach(), "dq": q.grad, "dk": k.grad, "dv": v.grad}


def hold_error(got, rival, exact, dtype):
    """Against fp64: at most twice the rival's error in the same dtype, plus one rounding of what the sums add up
    (dq of few queries nearly cancels, and is then smaller than the rounding of its terms)."""
    rounding = max(x.norm() for x in exact.values()) * torch.finfo(dtype).eps / 2
    for name, value in got.items():
        assert value.dtype == dtype
        ours, theirs = ((x[name].double() - exact[name]).norm() for x in (got, rival))
        assert ours <= 2 * theirs + rounding, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", EVERY[:-1])
def test_error_against_float64(how, case, dtype):
    """The rival is torch, or the definition where torch has no softcap, or goes wrong: of a negative scale its flash
    attention takes the maximum before it scales (2.13)."""
    tensors, keys = draw(case, dtype)
    alone = "softcap" in keys or "scale" in keys
    exact = run(tensors, keys, "reference", torch.float64)
    rival = "reference" if alone else "torch"
    hold_error(run(tensors, keys, how), run(tensors, keys, rival), exact, dtype)


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


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("case", ["grouped", "multi-query, documents", "a long cache", "real", *FEW])
def test_threads_do_not_matter(how, case, dtype):
    tensors, keys = draw(case, dtype)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(tensors, keys, how))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert_same_bits(other, results[0])


@pytest.mark.once
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_two_hundred_runs_under_load_give_the_same_bits(dtype):
    tensors, keys = draw("multi-query, documents", dtype)
    with under_load():
        first = run(tensors, keys, NATIVE[0])
        for _ in range(200):
            assert_same_bits(run(tensors, keys, NATIVE[0]), first)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("case", ["an odd head", "a long cache", "cu_seqlens", "grouped", *FEW])
@pytest.mark.parametrize("how", NATIVE)
def test_scratch_is_not_read_before_it_is_written(how, case, dtype, monkeypatch):
    tensors, keys = draw(case, dtype)
    expected = run(tensors, keys, how)
    work = attention_op._work
    monkeypatch.setattr(attention_op, "_work", lambda *a, **k: np.full_like(work(*a, **k), np.nan))
    with poisoned_memory():
        assert_same_bits(run(tensors, keys, how), expected)


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(how, value):
    (q, k, v, _), _ = draw("grouped")
    q[1, 30, 2, 3] = value
    out = attention(q, k, v, impl=how)
    assert out[1, 30, 2].isnan().all()
    assert out[0].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("queries", [1, 2])
def test_a_decoding_step_reads_only_what_it_sees(how, queries, dtype):
    """Keys outside the ranges, in the same cache, hold NaN: a weight of 0 would carry it into the output."""
    q, k, v = (torch.randn(2, t, h, 48, dtype=dtype) for t, h in ((queries, 4), (1300, 2), (1300, 2)))
    ranges = tuple(torch.full((2, queries), x, dtype=torch.int32) for x in (531, 1217))
    alone = attention(q, k[:, 531:1217], v[:, 531:1217], causal=False, impl="reference")
    for x in (k, v):
        x[:, :531] = x[:, 1217:] = float("nan")
    got = attention(q, k, v, causal=False, ranges=ranges, impl=how)
    limit = 4 * torch.finfo(dtype).eps if dtype == torch.bfloat16 else 686**0.5 * torch.finfo(dtype).eps
    assert (got.double() - alone.double()).norm() <= limit * alone.double().norm()


@pytest.mark.parametrize("how", NATIVE)
def test_the_operator_and_its_function_agree(how):
    """Without a gradient the face calls the function under the operator."""
    (q, k, v, _), keys = draw("one query, a long cache")
    with torch.no_grad():
        direct = attention(q, k, v, impl=how, **keys)
    assert torch.equal(direct, attention(q.requires_grad_(), k, v, impl=how, **keys).detach())


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("how", NATIVE)
def test_large_scores_stay_finite(how, dtype):
    (q, k, v, dout), keys = draw("grouped", dtype)
    got = run((100 * q, 100 * k, v, dout), keys, how)
    assert all(x.isfinite().all() for x in got.values())


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("how", NATIVE)
def test_no_weight_exceeds_one_in_the_backward(how, dtype):
    """With a maximum that is 200 too low, exp would overflow; taken of min(x, 0) it gives P = 1 / sum."""
    (q, k, v, dout), _ = draw("grouped", dtype)
    lo, hi = key_ranges(49, 49, causal=True)
    out, stats = attention_op.attention_op(q, k, v, lo, hi, 0.25, 0.0, how)
    stats[..., 0] -= 200
    stats[..., 1] = 1
    dq, dk, dv = attention_op.attention_backward_op(dout, q, k, v, lo, hi, out, stats, 0.25, 0.0, how)
    assert all(x.isfinite().all() for x in (dq, dk, dv))
    expected = dout.float().view(2, 49, 2, 2, 16).sum(3).flip(1).cumsum(1).flip(1)  # P is 1 where seen
    torch.testing.assert_close(dv.float(), expected, rtol=2e-2, atol=2e-2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("case", ["real", "with a cache", "a long cache", *FEW])
@pytest.mark.parametrize("how", NATIVE)
def test_strides_do_not_matter(how, case, dtype):
    (q, k, v, dout), keys = draw(case, dtype)
    expected = run((q, k, v, dout), keys, how)
    for views in (
        [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v, dout)],
        [x.transpose(2, 3).contiguous().transpose(2, 3) for x in (q, k, v, dout)],
        [torch.cat([x, x + 1], 1)[:, : x.shape[1]] for x in (q, k, v, dout)],  # a cache with room
        [torch.cat([x[..., :1], x], -1)[..., 1:] for x in (q, k, v, dout)],  # odd strides, odd places
    ):
        assert_same_bits(run(views, keys, how), expected)
    ones = run((q, k, v, torch.ones_like(dout)), keys, how)
    expanded = (q, k, v, torch.ones((), dtype=dtype).expand_as(dout))  # stride 0, as .sum().backward() gives
    assert_same_bits(run(expanded, keys, how), ones)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("queries", [9, 40])
def test_opcheck(how, queries, dtype):
    q, k, v = (torch.randn(2, queries, h, 16, dtype=dtype, requires_grad=True) for h in (4, 2, 2))
    lo, hi = key_ranges(queries, queries, causal=True)
    torch.library.opcheck(attention_op.attention_op.overload, (q, k, v, lo, hi, 0.25, 3.0, how))
    q, k, v = (x.detach() for x in (q, k, v))
    results = attention_op.attention_op(q, k, v, lo, hi, 0.25, 3.0, how)
    torch.library.opcheck(attention_op.attention_backward_op.overload, (q, q, k, v, lo, hi, *results, 0.25, 3.0, how))


@pytest.mark.parametrize("case", ["grouped", "with a cache", "cu_seqlens", "window", "both directions, documents"])
def test_compiles_without_a_break(case):
    (q, k, v, _), keys = draw(case)
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, **keys) * 2, backend="aot_eager", fullgraph=True)
    q.requires_grad_()
    out = compiled(q, k, v)
    torch.testing.assert_close(out, 2 * attention(q, k, v, **keys))
    out.sum().backward()
    assert q.grad.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CARD, reason="needs a card and a build with CUDA")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_card(case, dtype):
    (q, k, v, _), keys = draw(case, dtype)
    exact = attention(q.double(), k.double(), v.double(), impl="reference", **keys)
    on_device = {name: x.cuda() if isinstance(x, torch.Tensor) else x for name, x in keys.items()}
    impl = None if "softcap" in keys else "cuda"  # no kernel has it: the face takes the definition
    got = attention(q.cuda(), k.cuda(), v.cuda(), impl=impl, **on_device).cpu()
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
        ((X, X, X), {"softcap": 0.0}, ValueError, "softcap must be above 0, got 0.0"),
        ((X, X, X), {"softcap": 1.0, "impl": "torch"}, ValueError, "impl 'torch' has no softcap"),
        (3 * (X.to("meta"),), {"softcap": 1.0, "impl": "cuda"}, ValueError, r"choose from \['reference'\]"),
        ((X, X, X), {"window": 0}, ValueError, "window must be at least 1, got 0"),
        ((X, X, X), {"cu_seqlens": torch.zeros(2)}, TypeError, "cu_seqlens must have dtype int32, got torch.float32"),
        ((X, X, X), {"cu_seqlens": torch.zeros(2, 2).int()}, ValueError, r"shape \(num_docs \+ 1,\), got \(2, 2\)"),
        ((X[:, 1:], X, X), {"cu_seqlens": torch.zeros(2).int()}, ValueError, "cu_seqlens need Tq = Tk, got Tq = 3"),
        (
            (X, X, X),
            {"cu_seqlens": torch.zeros(2).int(), "segments": torch.zeros(1, 4).int()},
            ValueError,
            "from segments or from cu_seqlens, got both",
        ),
        ((X, X, X), {"ranges": 2 * (torch.zeros(1, 4).int(),)}, ValueError, "ranges say all: causal must be False"),
        ((X, X, X), {"ranges": 2 * (torch.zeros(1, 4),), "causal": False}, TypeError, "ranges must have dtype int32"),
        (
            (X, X, X),
            {"ranges": 2 * (torch.zeros(1, 3).int(),), "causal": False},
            ValueError,
            r"ranges must have shape \(1, 4\), got \(1, 3\)",
        ),
        ((X, X, X), {"impl": "mmx"}, ValueError, "impl 'mmx' cannot run here; choose from .*torch"),
        ((X, X, X), {"impl": "cuda"}, ValueError, "impl 'cuda' takes fp32 or bf16 on a GPU, got torch.float32 on cpu"),
        ((X.double(),) * 3, {"impl": "scalar"}, ValueError, "takes fp32, bf16 or fp16 on the CPU, got torch.float64"),
        ((torch.zeros(1, 4, 2, 260),) * 3, {"impl": "scalar"}, ValueError, "head dims up to 256, got 260"),
    ],
)
def test_refuses(arguments, keys, error, words):
    with pytest.raises(error, match=words):
        attention(*arguments, **keys)
