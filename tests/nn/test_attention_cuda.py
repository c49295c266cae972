"""The kernels on tensor cores: every one that the card runs, against the definition in float64 on the card."""

import pytest
import torch

from fasttrain.nn import attention_ref
from fasttrain.nn.attention import attention
from fasttrain.nn.attention_cuda import attention_tensor_backward_op, attention_tensor_op
from fasttrain.nn.segments import key_ranges
from made_card import HAS_CARD, ON_CARD

pytestmark = ON_CARD
HOPPER = HAS_CARD and torch.cuda.get_device_capability() == (9, 0)
KERNELS = {"mma": False, "wgmma": True} if HOPPER else {"mma": False}
CASES = {  # B, Tq, Tk, H, Hkv, D, causal, documents
    "one query": (16, 1, 2, 2, 1, 64, True, False),
    "one key": (2, 3, 1, 2, 2, 128, False, False),
    "tail of every tile": (2, 67, 67, 2, 2, 64, True, False),
    "grouped": (2, 300, 300, 6, 2, 128, True, False),
    "multi-query, documents": (1, 777, 777, 5, 1, 64, True, True),
    "both directions, documents": (2, 531, 531, 2, 2, 128, False, True),
    "cross": (1, 50, 371, 2, 2, 64, False, False),
    "with a cache": (2, 5, 270, 4, 2, 128, True, False),
    "whole tiles": (2, 512, 512, 4, 2, 64, True, False),
    "whole tiles, wide": (2, 512, 512, 4, 4, 128, False, False),
    "long": (1, 2113, 2113, 2, 1, 128, True, False),
    "long, narrow": (1, 2113, 2113, 3, 1, 64, True, False),
}


def draw(case, seed=29):
    B, Tq, Tk, H, Hkv, D, causal, documents = CASES[case]
    g = torch.Generator("cuda").manual_seed(seed)
    shapes = [(B, Tq, H, D), *2 * [(B, Tk, Hkv, D)], (B, Tq, H, D)]
    q, k, v, dout = (torch.randn(s, generator=g, device="cuda").bfloat16() for s in shapes)
    segments = None
    if documents:  # some of them padding
        segments = (torch.rand((B, Tq), generator=g, device="cuda") < 0.02).cumsum(1).int()
        segments[:, 40:60] = -1
    lo, hi = key_ranges(Tq, Tk, causal=causal, segments=segments, device=torch.device("cuda"))
    return (q, k, v, dout), (lo.contiguous(), hi.contiguous())


def run(tensors, ranges, how, scale=0.11, dtype=torch.bfloat16):
    q, k, v, dout = (x.detach().to(dtype) for x in tensors)
    for x in (q, k, v):
        x.requires_grad_()
    if how == "reference":
        out = attention_ref.attention(q, k, v, *ranges, scale)
    else:
        out = attention_tensor_op(q, k, v, *ranges, scale, KERNELS[how])[0]
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", KERNELS)
def test_error_against_float64(how, case):
    """At most twice the error of the definition in fp32 with results in bf16, plus one rounding of the largest tensor:
    P and dS go into products as bf16, and dq of few queries nearly cancels."""
    tensors, ranges = draw(case)
    exact = run(tensors, ranges, "reference", dtype=torch.float64)
    reference, got = run(tensors, ranges, "reference"), run(tensors, ranges, how)
    rounding = max(x.norm() for x in exact.values()) * torch.finfo(torch.bfloat16).eps / 2
    for name, value in got.items():
        ours, theirs = ((x.double() - exact[name]).norm() for x in (value, reference[name]))
        assert ours <= 2 * theirs + rounding, (name, float(ours), float(theirs), float(exact[name].norm()))


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("D", [64, 128])
def test_by_hand(how, D):
    """Equal keys weigh equally: out[i] is the mean of v[0..i], dv[j] the sum over i >= j of 1 / (i + 1)."""
    q, k, dout = (torch.ones(1, 3, 1, D, device="cuda") for _ in range(3))
    v = torch.tensor([1.0, 2.0, 6.0], device="cuda").view(1, 3, 1, 1).expand(1, 3, 1, D)
    ranges = key_ranges(3, 3, causal=True, device=torch.device("cuda"))
    got = run((q, k, v, dout), ranges, how)
    rounding = {"rtol": torch.finfo(torch.bfloat16).eps, "atol": 0.0}
    torch.testing.assert_close(got["out"][0, :, 0, 0].float().cpu(), torch.tensor([1.0, 1.5, 3.0]), **rounding)
    torch.testing.assert_close(got["dv"][0, :, 0, 0].float().cpu(), torch.tensor([11 / 6, 5 / 6, 2 / 6]), **rounding)


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("case", ["multi-query, documents", "both directions, documents"])
def test_padding_gives_zero_and_gets_zero(how, case):
    tensors, ranges = draw(case)
    for name, value in run(tensors, ranges, how).items():
        assert not value[:, 40:60].any(), name
        assert value.isfinite().all(), name


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("case", ["grouped", "multi-query, documents", "long"])
def test_the_same_bits_100_times(how, case):
    tensors, ranges = draw(case)
    first = run(tensors, ranges, how)
    for _ in range(100):
        for name, value in run(tensors, ranges, how).items():
            assert torch.equal(value, first[name]), name


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("case", ["tail of every tile", "with a cache", "multi-query, documents"])
def test_every_value_is_written(how, case):
    """Memory that torch hands out uninitialised holds NaN, so that what is read before it is written shows."""
    tensors, ranges = draw(case)
    expected = run(tensors, ranges, how)
    q, k, v, dout = tensors
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3, device="cuda").isnan().all()
        out, lse = attention_tensor_op(q, k, v, *ranges, 0.11, KERNELS[how])
        gradients = attention_tensor_backward_op(dout, q, k, v, *ranges, out, lse, 0.11, KERNELS[how])
    finally:
        torch.use_deterministic_algorithms(False)
    for name, value in zip(("out", "dq", "dk", "dv"), (out, *gradients)):
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(how, value):
    (q, k, v, _), ranges = draw("grouped")
    q[1, 130, 2, 3] = value
    out, _ = attention_tensor_op(q, k, v, *ranges, 0.11, KERNELS[how])
    assert out[1, 130, 2].isnan().all()
    assert out[0].isfinite().all()


@pytest.mark.parametrize("how", KERNELS)
def test_large_scores_stay_finite(how):
    (q, k, v, dout), ranges = draw("grouped")
    got = run((100 * q, 100 * k, v, dout), ranges, how)
    assert all(x.isfinite().all() for x in got.values())


@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("shape", [(0, 5, 5), (1, 0, 5), (2, 5, 0)])
def test_nothing(how, shape):
    B, Tq, Tk = shape
    q, k, v = (torch.randn(B, t, 2, 64, device="cuda").bfloat16().requires_grad_() for t in (Tq, Tk, Tk))
    ranges = key_ranges(Tq, Tk, causal=False, device=torch.device("cuda"))
    out, _ = attention_tensor_op(q, k, v, *ranges, 0.1, KERNELS[how])
    out.sum().backward()
    assert not any(x.any() for x in (out, q.grad, k.grad, v.grad))


def test_the_face_gives_documents_to_it_and_strides_do_not_matter():
    (q, k, v, dout), _ = draw("whole tiles")
    segments = (torch.arange(512, device="cuda") // 100).int().expand(2, 512).contiguous()
    ranges = key_ranges(512, 512, causal=True, segments=segments)
    views = [x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for x in (q, k, v)]
    out = attention(*views, segments=segments, scale=0.11)
    expected = run((q, k, v, dout), ranges, "wgmma" if HOPPER else "mma")
    gradients = torch.autograd.grad(out, views, dout)
    for name, value in zip(("out", "dq", "dk", "dv"), (out, *gradients)):
        assert torch.equal(value, expected[name]), name


def test_compiles_without_a_break():
    (q, k, v, _), _ = draw("grouped")
    compiled = torch.compile(lambda q, k, v: attention(q, k, v, impl="cuda") * 2, backend="aot_eager", fullgraph=True)
    q.requires_grad_()
    out = compiled(q, k, v)
    torch.testing.assert_close(out, 2 * attention(q, k, v, impl="cuda"))
    out.sum().backward()
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("how", KERNELS)
def test_opcheck(how):
    (q, k, v, dout), ranges = draw("tail of every tile")
    leaves = [x.requires_grad_() for x in (q, k, v)]
    torch.library.opcheck(attention_tensor_op.overload, (*leaves, *ranges, 0.1, KERNELS[how]))
    given = [x.detach() for x in leaves]
    results = attention_tensor_op(*given, *ranges, 0.1, KERNELS[how])
    torch.library.opcheck(attention_tensor_backward_op.overload, (dout, *given, *ranges, *results, 0.1, KERNELS[how]))


def test_a_gradient_that_no_kernel_gives_is_refused():
    q = torch.randn(1, 4, 2, 16, device="cuda", requires_grad=True)
    with pytest.raises(ValueError, match="impl 'cuda' has a backward for bf16 and head dims 64 and 128 only"):
        attention(q, q, q, impl="cuda")
