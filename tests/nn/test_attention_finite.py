"""What is not finite stays with those who see it: a masked NaN is as if it were not there."""

import pytest
import torch

from fasttrain.core import backend
from fasttrain.nn.attention import attention

OP = "attention"
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
VALUES = [float("nan"), float("inf"), -float("inf")]
MASKS = {  # keys of attention, tokens of a row, the ones that are broken
    "documents": ({"cu_seqlens": [0, 33, 101, 150]}, 150, slice(33, 101)),
    "documents, both directions": ({"cu_seqlens": [0, 33, 101, 150], "causal": False}, 150, slice(33, 101)),
    "padding behind": ({"segments": [0] * 77 + [-1] * 13}, 90, slice(77, 90)),
    "padding between": ({"segments": [0] * 61 + [-1] * 9 + [1] * 71}, 141, slice(61, 70)),
    "one token": ({"cu_seqlens": [0, 34, 35, 80]}, 80, slice(34, 35)),
}


def draw(num_tokens, dtype, heads=(4, 2), D=32, rows=1):
    g = torch.Generator().manual_seed(7)
    return [
        torch.randn(rows, num_tokens, h, D, generator=g).to(dtype) for h in (heads[0], heads[1], heads[1], heads[0])
    ]


def options(keys):
    return {name: torch.tensor(x, dtype=torch.int32) if isinstance(x, list) else x for name, x in keys.items()}


def gradients(q, k, v, dout, how, **keys):
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attention(*leaves, impl=how, **keys)
    return [out.detach(), *torch.autograd.grad(out, leaves, dout)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("how", NATIVE)
def test_a_broken_document_reaches_no_other(how, mask, value, dtype):
    """q, k, v and dout of a document, or of padding, hold NaN or inf: the others keep their bits, both ways."""
    keys, num_tokens, broken = MASKS[mask]
    keys = options(keys)
    if "segments" in keys:
        keys["segments"] = keys["segments"][None]
    whole = torch.ones(num_tokens, dtype=torch.bool)
    whole[broken] = False
    tensors = draw(num_tokens, dtype)
    expected = gradients(*tensors, how, **keys)
    for x in tensors:
        x[:, broken, :, 3] = value
        x[:, broken, 0] = value
    for ours, clean in zip(gradients(*tensors, how, **keys), expected, strict=True):
        assert torch.equal(ours[:, whole], clean[:, whole])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("keys", [{}, {"window": 21}, {"softcap": 2.0}, {"window": 40, "causal": False}], ids=str)
@pytest.mark.parametrize("name", ["k", "v", "q", "dout"])
def test_what_is_not_finite_reaches_who_sees_it(how, name, keys, dtype):
    """One token of one tensor is NaN. Out and gradients are NaN just where the pairs that are seen make them so, and
    elsewhere what they are without it."""
    num_tokens, broken = 150, 70
    tensors = dict(zip(["q", "k", "v", "dout"], draw(num_tokens, dtype, (1, 1)), strict=True))
    expected = gradients(*tensors.values(), how, **keys)
    tensors[name][:, broken] = float("nan")
    out, dq, dk, dv = gradients(*tensors.values(), how, **keys)
    i = torch.arange(num_tokens)
    near = abs(i[:, None] - i) < keys.get("window", num_tokens)
    sees = near & (i[:, None] >= i) if keys.get("causal", True) else near
    queries = sees[:, broken] if name in "kv" else i == broken  # whose P or dS is NaN
    touched = (queries[:, None] & sees).any(0)
    only_out = name == "dout"
    for result, clean, is_nan in zip(
        (out, dq, dk, dv),
        expected,
        (queries & (not only_out), queries, touched, touched if name != "v" else sees[:, broken] & False),
        strict=True,
    ):
        assert torch.equal(result.isnan().all(-1).flatten(), is_nan)
        assert torch.equal(result[:, ~is_nan], clean[:, ~is_nan])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
@pytest.mark.parametrize("heads", [(2, 2), (4, 1), (12, 1)])
@pytest.mark.parametrize("num_queries", [1, 2, 4])
def test_a_decoding_step(how, num_queries, heads, dtype):
    """Of a step of several queries the last key is seen by the last one alone."""
    q, k, v = (torch.randn(2, t, h, 48).to(dtype) for t, h in zip((num_queries, 643, 643), (heads[0], *2 * heads[1:])))
    expected = attention(q, k, v, impl=how)
    v[:, -1] = float("nan")
    got = attention(q, k, v, impl=how)
    assert torch.equal(got[:, :-1], expected[:, :-1])
    assert got[:, -1].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_an_infinite_value_stays_infinite(how, dtype):
    """Beside finite ones: sums of positive weights with one infinity."""
    q, k, v, _ = draw(70, dtype, (1, 1))
    v[0, 40, 0, 5] = float("inf")
    out = attention(q, k, v, impl=how)
    assert torch.equal(out[0, :, 0, 5] == float("inf"), torch.arange(70) >= 40)
    assert out[..., :5].isfinite().all()
    assert out[..., 6:].isfinite().all()
