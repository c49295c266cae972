"""Faces that call the function under their operator do so only where nobody looks, and then with the same bits."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from fasttrain.core import backend
from fasttrain.nn.attention import attention
from fasttrain.nn.dispatch import needs_operator
from fasttrain.nn.embedding import embedding
from fasttrain.nn.gelu import gelu
from fasttrain.nn.rms_norm import rms_norm, rms_norm_residual
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.swiglu import swiglu

X = torch.zeros(2, 3)


class Other(torch.Tensor):
    """A tensor of another class."""


def test_nobody_looks():
    parameter = torch.nn.Parameter(X)
    assert not needs_operator(X)
    with torch.no_grad():
        assert not needs_operator(X, parameter)
    assert needs_operator(X, parameter)


def test_autograd_torch_func_and_other_classes_look():
    seen = []
    with forward_ad.dual_level():
        seen.append(needs_operator(X))
    torch.func.vmap(lambda x: seen.append(needs_operator(x)) or x)(X)
    torch.func.functionalize(lambda x: seen.append(needs_operator(x)) or x)(X)
    make_fx(lambda x: seen.append(needs_operator(x)) or x + 1)(X)
    seen.append(needs_operator(X, X.as_subclass(Other)))
    assert seen == [True] * 5


def ops(dtype):
    """Each op of a decoding step as a function of tensors that may want a gradient."""
    g = torch.Generator().manual_seed(3)
    x, y = (torch.randn(2, 5, 4, 32, generator=g).to(dtype) for _ in range(2))
    weight, tables = torch.randn(32, generator=g), rope_tables(positions(5), 32, 10_000.0)
    ids = torch.tensor([[1, 0, 4]])
    return {
        "rope": (lambda a: rope(a, *tables), x),
        "rope, strided": (lambda a: rope(a.transpose(1, 2).contiguous().transpose(1, 2), *tables), x),
        "gelu": (gelu, x),
        "swiglu": (lambda a: swiglu(a, y), x),
        "rms_norm": (lambda a: rms_norm(a, weight, 1e-5), x),
        "rms_norm, one row": (lambda a: rms_norm(a, weight, 1e-5), x[0, 0, 0]),
        "rms_norm, no row": (lambda a: rms_norm(a, weight, 1e-5), x[:0]),
        "rms_norm_residual": (lambda a: torch.cat(rms_norm_residual(a, y.float(), weight, 1e-5)), x),
        "embedding": (lambda a: embedding(ids, a), x[0, :, 0]),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ops(torch.float32))
def test_function_and_operator_agree(name, dtype):
    run, x = ops(dtype)[name]
    through = run(x.clone().requires_grad_())
    assert through.requires_grad
    direct = run(x)
    assert not direct.requires_grad
    assert direct.is_contiguous()
    assert torch.equal(direct, through.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("order", ["together", "heads first", "dims apart"])
@pytest.mark.parametrize(
    "keys", [{}, {"causal": False}, {"window": 9}, {"window": 9, "causal": False}, {"softcap": 2.0}], ids=str
)
@pytest.mark.parametrize("how", backend.implementations("attention")[:-1])
def test_a_decoding_step_equals_the_operator(how, keys, order, queries, dtype):
    """The step makes its own ranges from the mask: the operator gets key_ranges' tensors."""
    g = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(2, t, h, 32, generator=g).to(dtype) for t, h in ((queries, 4), (70, 2), (70, 2)))
    if order != "together":
        a, b = (1, 2) if order == "heads first" else (2, 3)
        q, k, v = (x.transpose(a, b).contiguous().transpose(a, b) for x in (q, k, v))
    through = attention(q.clone().requires_grad_(), k, v, impl=how, **keys)
    direct = attention(q, k, v, impl=how, **keys)
    assert direct.is_contiguous()
    assert torch.equal(direct, through.detach())


def test_a_step_against_no_key_gives_zeros():
    q, k = torch.randn(2, 3, 4, 16), torch.randn(2, 0, 2, 16)
    assert torch.equal(attention(q, k, k, causal=False), torch.zeros_like(q))
