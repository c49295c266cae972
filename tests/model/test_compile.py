"""torch.compile in one graph with its default backend: a model that uses every op of a block, forward and back."""

import functools

import pytest
import torch

from fasttrain.core import backend
from fasttrain.model.config import ModelConfig
from fasttrain.model.transformer import FeedForward, Transformer
from fasttrain.nn.dropout import DropoutKey
from fasttrain.nn.gelu import gelu

V, T = 61, 16
CONFIG = {"vocab_size": V, "num_layers": 2, "dim": 32, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 48, "dropout": 0.2}
OPS = {"embedding", "dropout", "rms_norm", "rms_norm_residual", "rope", "attention", "swiglu", "gelu"}
OPS |= {"linear_cross_entropy"}


def made_model():
    """SwiGLU in the first block, GELU in the second; norms that are not what they begin as."""
    config = ModelConfig.load(CONFIG | {"qk_norm": True, "max_seq_len": T})
    model = Transformer(config)
    model.blocks[1].ffn = FeedForward(config.model_copy(update={"activation": "gelu_tanh"}))
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * 0.1 + (parameter.ndim == 1))
    return model


def run(model, forward):
    g = torch.Generator().manual_seed(41)
    tokens, targets = (torch.randint(0, V, (3, T), generator=g) for _ in range(2))
    targets[:, 3:5] = -100
    segments = (torch.arange(T) >= torch.tensor([[5], [16], [9]])).int()
    nll, z2 = forward(tokens, targets, segments, dropout=DropoutKey(seed=1, step=7, rows=(8, 9, 10)))
    (nll.mean() + 1e-3 * z2.mean()).backward()
    return {"nll": nll.detach(), "z2": z2.detach()} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.skipif(not backend.is_native(), reason="the native module is not built")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # inductor's own, as it loads
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo does it to Functions
def test_inductor_gives_what_eager_gives(tmp_path, monkeypatch):
    from torch._inductor.compile_fx import compile_fx

    # By itself it leaves GELU to the compiler, which fuses torch's.
    native = functools.partial(gelu, impl=backend.implementations("gelu")[0])
    monkeypatch.setattr("fasttrain.model.transformer.gelu", native)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # compiled here and now
    graphs = []

    def inductor(graph, inputs):
        graphs.append({str(node.target) for node in graph.graph.nodes})
        return compile_fx(graph, inputs)

    eager, model = made_model(), made_model()
    expected = run(eager, eager)
    got = run(model, torch.compile(model, backend=inductor, fullgraph=True))
    (used,) = graphs
    assert {f"fasttrain.{op}.default" for op in OPS} <= used
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, msg=lambda text, name=name: f"{name}: {text}")
