import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend, pages
from fasttrain.nn.embedding import Embedding, embedding
from fasttrain.nn.embedding_op import embedding_backward_op, embedding_op
from nn.made_error import assert_same_bits, hold_error, hold_the_same_bits, on_threads, poisoned_memory

OP = "embedding"
EVERY = [*backend.implementations(OP), "torch"]
NATIVE = backend.implementations(OP)[:-1]
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [
    ((0,), 5, 3),
    ((1,), 1, 1),
    ((2, 7), 4, 17),
    ((3, 50), 300, 67),
    ((400,), 3, 64),
    ((9,), 130, 200),
    ((4,), 9, 0),
]


def draw(shape, V, C, dtype, seed=67):
    g = torch.Generator().manual_seed(seed)
    ids = (V * torch.rand(shape, generator=g) ** 3).long()  # low ids are common, many words never come
    weight, dout = torch.randn(V, C, generator=g), torch.randn(*shape, C, generator=g)
    return ids, {"weight": weight.to(dtype), "dout": dout.to(dtype)}


def run(ids, tensors, how, dtype=None):
    weight, dout = (tensors[name].detach().to(dtype or tensors[name].dtype) for name in ("weight", "dout"))
    out = embedding(ids, weight.requires_grad_(), impl=how)
    return {"out": out.detach(), "dweight": torch.autograd.grad(out, weight, dout)[0]}


@pytest.mark.parametrize(("shape", "V", "C"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_every_implementation_gives_the_bits_of_the_reference(how, dtype, shape, V, C):
    ids, tensors = draw(shape, V, C, dtype)
    dweight = embedding_backward_op(tensors["dout"], ids, V, "reference")
    assert_same_bits(run(ids, tensors, how), {"out": tensors["weight"][ids], "dweight": dweight})


@pytest.mark.once
@pytest.mark.skipif(not pages._has_huge_pages(), reason="the system has no huge pages")
@pytest.mark.parametrize("how", NATIVE)
def test_a_large_gradient_starts_from_mapped_zeros(how):
    C = 64
    V = pages.MAPPED_BYTES // (4 * C) + 1
    assert pages.mapped_zeros((V, C), torch.float32) is not None
    ids = torch.tensor([0, V - 1, 5, 0])
    dout = torch.randn(4, C, generator=torch.Generator().manual_seed(3))
    with poisoned_memory():
        dweight = embedding_backward_op(dout, ids, V, how)
    expected = {0: dout[0] + dout[3], 5: dout[2], V - 1: dout[1]}
    for v, row in expected.items():
        assert torch.equal(dweight[v], row)
        dweight[v] = 0
    assert not dweight.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_error_against_float64(how, dtype):
    ids, tensors = draw((3, 200), 300, 67, dtype)
    exact = run(ids, tensors, "torch", torch.float64)
    hold_error(run(ids, tensors, how), run(ids, tensors, "torch"), exact)


@pytest.mark.parametrize("how", EVERY)
def test_by_hand(how):
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    out = embedding(torch.tensor([2, 0, 2]), weight, impl=how)
    assert out.tolist() == [[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]
    out.backward(torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]))
    assert weight.grad.tolist() == [[2.0, 20.0], [0.0, 0.0], [5.0, 50.0]]


@pytest.mark.parametrize("how", [n for n in EVERY if n != "torch"])
def test_sums_of_bf16_are_kept_in_fp32(how):
    """256 ones and as many of 1/256: in bf16 the small ones would be lost one by one."""
    weight = torch.zeros(1, 1, dtype=torch.bfloat16, requires_grad=True)
    dout = torch.cat((torch.ones(256, 1), torch.full((256, 1), 1 / 256))).bfloat16()
    embedding(torch.zeros(512, dtype=torch.int64), weight, impl=how).backward(dout)
    assert weight.grad.item() == torch.tensor(257.0).bfloat16().item()


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 40))
def test_any_ids(ids, C):
    index = torch.tensor(ids, dtype=torch.int64)
    dout = torch.arange(len(ids) * C, dtype=torch.float32).view(len(ids), C)
    expected = torch.zeros(7, C).index_add_(0, index, dout)  # integers: sums are exact in any order
    for how in NATIVE:
        assert torch.equal(embedding_backward_op(dout, index, 7, how), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", NATIVE)
def test_bits_do_not_depend_on_threads_strides_or_scratch(how, dtype):
    ids, tensors = draw((3, 200), 300, 67, dtype)
    first, *others = on_threads((1, 2, 3), lambda: run(ids, tensors, how))
    with poisoned_memory():
        others.append(run(ids, tensors, how))
    strided = {name: x.transpose(0, 1).contiguous().transpose(0, 1) for name, x in tensors.items()}
    others.append(run(ids.t().contiguous().t(), strided, how))
    others.append(run(ids.int(), tensors, how))
    for other in others:
        assert_same_bits(other, first)
    expanded = tensors | {"dout": tensors["dout"][:1, :1].expand(3, 200, -1)}
    assert_same_bits(run(ids, expanded, how), run(ids, {name: x.contiguous() for name, x in expanded.items()}, how))


@pytest.mark.once
@pytest.mark.parametrize("how", NATIVE)
def test_the_same_bits_200_times_under_load(how):
    ids, tensors = draw((3, 200), 300, 67, torch.bfloat16)
    hold_the_same_bits(lambda: run(ids, tensors, how))


def test_gradients_add_up():
    ids, tensors = draw((50,), 9, 5, torch.float32)
    module = Embedding(9, 5)
    for _ in range(2):
        module(ids).backward(tensors["dout"])
    once = embedding_backward_op(tensors["dout"], ids, 9, "reference")
    assert torch.equal(module.weight.grad, 2 * once)


@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how):
    ids = torch.tensor([[1, 0, 1], [2, 2, 2]])
    torch.library.opcheck(embedding_op.overload, (ids, torch.randn(4, 7, requires_grad=True), how))
    torch.library.opcheck(embedding_backward_op.overload, (torch.randn(2, 3, 7), ids, 4, how))


def test_compiles_without_a_break():
    ids, tensors = draw((2, 7), 5, 17, torch.bfloat16)
    weight = tensors["weight"].requires_grad_()
    results = [f(ids, weight) for f in (embedding, torch.compile(embedding, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(y, weight, tensors["dout"]) for y in results))


IDS = torch.tensor([0])


@pytest.mark.parametrize(
    ("ids", "weight", "how", "error", "words"),
    [
        (IDS, torch.ones(3), None, ValueError, r"weight must have shape \(V, C\), got \(3,\)"),
        (IDS.double(), torch.ones(3, 2), None, TypeError, "ids must have dtype int64 or int32, got torch.float64"),
        (IDS + 3, torch.ones(3, 2), None, IndexError, "out of range"),
        (IDS - 1, torch.ones(3, 2), None, IndexError, "out of range"),
        (IDS, torch.ones(3, 2), "mmx", ValueError, "impl 'mmx' cannot run here; choose from .*torch"),
        (IDS, torch.ones(3, 2).double(), "scalar", ValueError, "takes fp32 or bf16 on the CPU"),
    ],
)
def test_refuses(ids, weight, how, error, words):
    with pytest.raises(error, match=words):
        embedding(ids, weight, impl=how)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_backward_refuses_what_is_no_row(wrong):
    with pytest.raises(IndexError, match=r"ids must lie in \[0, 3\)"):
        embedding_backward_op(torch.ones(1, 2), torch.tensor([wrong]), 3, NATIVE[0] if NATIVE else "reference")
