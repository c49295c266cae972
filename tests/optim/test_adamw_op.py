import pytest
import torch

from fasttrain.core import backend
from fasttrain.optim.adamw import AdamW
from fasttrain.optim.adamw_op import adamw_op

NATIVE = backend.implementations("adamw")[:-1]


def draw(param_dtype, copied):
    g = torch.Generator().manual_seed(9)
    param, grad, m = (torch.randn(3, 37, generator=g) for _ in range(3))
    copy = torch.empty(3, 37, dtype=torch.bfloat16) if copied else None
    return [param.to(param_dtype), grad, m, torch.rand(3, 37, generator=g), copy]


def settings(impl):
    return 4, 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5, True, 7, 2, impl


@pytest.mark.parametrize(("dtype", "copied"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
@pytest.mark.parametrize("how", NATIVE)
def test_opcheck(how, dtype, copied):
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(adamw_op.overload, (*draw(dtype, copied), *settings(how)), test_utils=tests)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_in_one_graph_it_is_the_optimizers_step(dtype):
    def step(param, grad, m, v, copy):
        adamw_op(param, grad * 1.0, m, v, copy, *settings(NATIVE[0]))
        return param * 2

    expected, got = draw(dtype, dtype == torch.float32), draw(dtype, dtype == torch.float32)
    one, other = step(*expected), torch.compile(step, backend="aot_eager", fullgraph=True)(*got)
    assert torch.equal(one, other)
    for a, b in zip(got, expected):
        assert a is b is None or torch.equal(a, b)
    param, grad, m, v, _ = draw(dtype, False)
    parameter = torch.nn.Parameter(param)
    parameter.grad = None
    group = {"params": [parameter], "place": {"stream": 2}, "grad": grad}
    optimizer = AdamW([group], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1, bf16="stochastic", seed=7)
    optimizer.state[parameter] = {"exp_avg": m, "exp_avg_sq": v, "step": 3}
    optimizer.step(grad_scale=0.5, zero_grad=True)
    assert torch.equal(parameter.detach(), got[0])
    assert torch.equal(m, got[2])
