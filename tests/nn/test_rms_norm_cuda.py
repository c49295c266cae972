import math

import pytest
import torch

from fasttrain.nn.rms_norm import rms_norm, rms_norm_residual
from fasttrain.nn.rms_norm_cuda import rms_norm_backward_op, rms_norm_op, rms_norm_residual_op
from made_card import ON_CARD, to_card
from nn.made_error import assert_same_bits, hold_error, poisoned_memory
from nn.test_rms_norm import BF16, DTYPES, F32, draw, run

pytestmark = ON_CARD
SHAPES = [(8,), (0, 8), (1, 8), (3, 2, 64), (65, 72), (37, 768), (1000, 1032), (700, 2048), (301, 4096), (33, 8192)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtypes", DTYPES)
def test_error_against_float64(dtypes, shape):
    tensors = to_card(draw(shape, dtypes))
    got, exact = run(tensors, "cuda"), run(tensors, "reference", torch.float64)
    r = tensors["x"].double() + (0 if tensors["residual"] is None else tensors["residual"].double())
    along = tensors["dy"].double() * tensors["weight"] / (r.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    hold_error(got, run(tensors, "torch"), exact, terms={"dx": along, "dresidual": along})


@pytest.mark.parametrize("shape", [(300, 768), (301, 4096)])
@pytest.mark.parametrize("dtypes", DTYPES)
def test_bits_do_not_depend_on_the_run_strides_or_scratch(dtypes, shape):
    tensors = to_card(draw(shape, dtypes))
    first, others = run(tensors, "cuda"), [run(tensors, "cuda") for _ in range(100)]
    with poisoned_memory():
        others.append(run(tensors, "cuda"))
    views = {name: x if x is None or x.ndim < 2 else x.mT.contiguous().mT for name, x in tensors.items()}
    for other in (*others, run(views, "cuda")):
        assert_same_bits(other, first)


@pytest.mark.parametrize("dtypes", DTYPES)
def test_rows_that_begin_anywhere(dtypes):
    """A view of an odd offset is not aligned to 16 bytes."""
    tensors = to_card(draw((5, 24), dtypes))
    shifted = {}
    for name, x in tensors.items():
        if x is not None:
            shifted[name] = x.new_empty(x.numel() + 1)[1:].view(x.shape).copy_(x)
    assert_same_bits(run(tensors | shifted, "cuda"), run(tensors, "cuda"))


@pytest.mark.parametrize("shape", [(37, 768), (1000, 1032), (301, 4096), (33, 8192)])
@pytest.mark.parametrize("dtypes", ["fp32 alone", "bf16 on an fp32 stream", "fp32", "bf16"])
def test_a_result_in_bf16_has_the_bits_of_a_cast_behind_the_norm(dtypes, shape):
    tensors = to_card(draw(shape, dtypes))
    results = []
    for dtype in (BF16, None):
        leaves = {n: tensors[n].clone().requires_grad_() for n in ("x", "residual", "weight") if tensors[n] is not None}
        if "residual" in leaves:
            y, r = rms_norm_residual(*leaves.values(), 1e-5, dtype=dtype)
        else:
            y, r = rms_norm(*leaves.values(), 1e-5, dtype=dtype), None
        y = y.to(BF16)
        outputs, gradients = (
            ([y], [tensors["dy"].to(BF16)]) if r is None else ([y, r], [tensors["dy"].to(BF16), tensors["dr"]])
        )
        made = torch.autograd.grad(outputs, list(leaves.values()), gradients)
        results.append(dict(zip(["y", *leaves], [y, *made])) | ({} if r is None else {"r": r}))
    assert_same_bits(*results)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_its_row(value):
    tensors = to_card(draw((3, 40), "bf16"))
    tensors["x"][1, 36] = value
    got = run(tensors, "cuda")
    for name in ("y", "dx"):
        assert got[name][1].isnan().any()
        assert got[name][[0, 2]].isfinite().all()


def test_opcheck():
    x = torch.randn(5, 16, dtype=BF16, device="cuda", requires_grad=True)
    residual = torch.randn(5, 16, dtype=F32, device="cuda", requires_grad=True)
    weight = torch.randn(16, device="cuda", requires_grad=True)
    torch.library.opcheck(rms_norm_op.overload, (x, weight, 1e-5, BF16))
    torch.library.opcheck(rms_norm_residual_op.overload, (x, residual, weight, 1e-5, BF16))
    gradients = torch.randn(5, 16, dtype=BF16, device="cuda"), None
    kept = x.detach(), weight.detach(), torch.rand(5, device="cuda"), BF16
    torch.library.opcheck(rms_norm_backward_op.overload, (*gradients, *kept))
