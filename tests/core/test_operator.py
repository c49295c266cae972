import subprocess
import sys

import pytest
import torch

from fasttrain.core.operator import operator
from fasttrain.nn.swiglu_op import swiglu_backward_op

STEP = """
import sys
import torch
from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import MicroBatch
from fasttrain.train.machine import torch_settings

config = ModelConfig(vocab_size=50, num_layers=2, dim=16, num_heads=2, max_seq_len=8, dropout=0.1)
tokens = torch.arange(16).view(2, 8)
rows = MicroBatch(tokens=tokens, targets=tokens, segments=None, sources=torch.zeros_like(tokens), rows=(0, 1))
for name in ("adamw", "muon"):
    with torch_settings(1):
        mesh, optim = build_mesh(SoloGroup(), LayoutConfig()), OptimConfig(name=name)
        engine = Engine(config, mesh, optim, seed=1, precision="bf16")
        engine.forward_backward([rows], step=0)
        engine.update(lr=0.1, grad_norm=engine.grad_norm())
print([name for name in ("torch._dynamo", "sympy", "torch._inductor") if name in sys.modules])
"""


def test_a_step_loads_nothing_of_torch_compile():
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr


def test_an_operator_without_a_formula_refuses_gradients():
    x = torch.randn(3, requires_grad=True)
    dgate, _ = swiglu_backward_op(x, x, x, "scalar")
    with pytest.raises(RuntimeError, match=r"fasttrain::swiglu_backward has no gradient: only a first derivative"):
        dgate.sum().backward()


def test_it_is_compiled_around_and_checked_like_any_operator():
    @operator("fasttrain_test::twice")
    def twice(x: torch.Tensor, times: int) -> torch.Tensor:
        return torch.from_numpy(2 * times * x.numpy())  # nothing that a tracer could look into

    @twice.register_fake
    def _(x, times):
        return x.new_empty(x.shape)

    twice.register_autograd(
        lambda ctx, dy: (twice(dy.detach(), ctx.times), None),
        setup_context=lambda ctx, inputs, output: setattr(ctx, "times", inputs[1]),
    )
    x = torch.randn(3, requires_grad=True)
    results = []
    for function in (twice, torch.compile(lambda x, n: twice(x, n), backend="aot_eager", fullgraph=True)):
        y = function(x, 3)
        results.append((y, *torch.autograd.grad(y.sum(), x)))
    for y, dx in results:
        assert torch.equal(y, 6 * x)
        assert torch.equal(dx, torch.full((3,), 6.0))
    torch.library.opcheck(twice.overload, (x.detach(), 3))
