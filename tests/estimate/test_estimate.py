import io

import numpy as np
import pytest
import torch
from rich.console import Console

from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.core import pages
from fasttrain.core.errors import ConfigError
from fasttrain.core.precision import autocast
from fasttrain.estimate import calibrate, memory
from fasttrain.estimate.estimate import Estimate, contexts, error, estimate, kv_cache, load, save
from fasttrain.estimate.table import format_error, format_estimate
from fasttrain.formats.run_folder import RunFolder
from fasttrain.model.config import ModelConfig
from fasttrain.model.init import init_
from fasttrain.model.transformer import Transformer
from fasttrain.parallel.tensor import vocab_parallel_loss
from fasttrain.parallel.wire import Clock, Wire

SMALL = ModelConfig(vocab_size=500, num_layers=4, dim=64, num_heads=4, num_kv_heads=2, ffn_dim=192)
RUN = {"seq_len": 32, "batch_rows": 8, "micro_rows": 2, "num_steps": 10}


def printed(renderable):
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


def test_counts_are_those_of_the_model():
    found = estimate(SMALL, **RUN, run_calibration=False)
    assert found.params["total"] == sum(p.numel() for p in Transformer(SMALL).parameters())
    assert found.total_tokens == 10 * 8 * 32
    assert found.total_flops == found.flops_per_token * 10 * 8 * 32
    assert (found.step_s, found.total_s, found.price) == (None, None, None)


GPT2 = ModelConfig(vocab_size=500, num_layers=4, dim=64, num_heads=4, family="gpt2", max_seq_len=32)


@pytest.mark.parametrize("base", [SMALL, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_one_rank_holds_the_whole_model(tied, qk_norm, base):
    config = base.model_copy(update={"tied_embeddings": tied, "qk_norm": qk_norm})
    params, _ = memory.rank_params(config, LayoutConfig(dp=1))
    assert params == sum(p.numel() for p in Transformer(config).parameters())


def test_layouts_divide_what_they_divide():
    whole, _ = memory.rank_params(SMALL, LayoutConfig(dp=1))
    assert memory.rank_params(SMALL, LayoutConfig(dp=4))[0] == whole
    tp, _ = memory.rank_params(SMALL, LayoutConfig(dp=1, tp=2))
    norms = 4 * 2 * 64 + 64
    assert tp == (whole - norms) // 2 + norms
    pp, _ = memory.rank_params(SMALL, LayoutConfig(dp=1, pp=4))
    block = (whole - 2 * 500 * 64 - 64) // 4
    assert pp == block + 500 * 64 + 64  # a layer and one of the two tables


QK_NORM = SMALL.model_copy(update={"qk_norm": True})


@pytest.mark.parametrize("base", [SMALL, GPT2, QK_NORM], ids=["llama", "gpt2", "qk_norm"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_activations_are_what_autograd_keeps(precision, base):
    """The closed form against the bytes that a layer more really saves."""
    kept = {}
    for layers in (1, 2):
        net = init_(Transformer(base.model_copy(update={"num_layers": layers})), 0)
        sizes = {}

        def pack(x, sizes=sizes):
            if x.numel() % 121 == 0:  # of the tokens, not of the weights: none of their sizes is a multiple of 11
                sizes[x.untyped_storage().data_ptr()] = (x.untyped_storage().nbytes(), x)
            return x

        tokens = torch.zeros(11, 11, dtype=torch.long)
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
            autocast(precision, torch.device("cpu")),
        ):
            net(tokens, tokens)
        kept[layers] = sum(size for size, _ in sizes.values())
    formula = memory.activation_bytes(base, 121, precision)
    # An upper bound, and a close one: kernels of other instruction sets may keep less.
    assert 0.8 * formula <= kept[2] - kept[1] <= formula


@pytest.mark.parametrize(("V", "C", "N"), [(8192, 128, 4096), (8192, 512, 1024), (4096, 256, 8192)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_head_needs_what_is_allocated(precision, V, C, N):
    """The closed form against the peak of what the allocator gives while the last norm, the head and the loss run."""
    config = ModelConfig(vocab_size=V, num_layers=1, dim=C, num_heads=4)
    net = Transformer(config)
    x = torch.randn(1, N, C, requires_grad=True)
    for p in (*net.norm.parameters(), *net.head.parameters()):
        p.grad = torch.zeros_like(p)  # as in training: they lie in the flat buffer
    targets = torch.randint(0, V, (1, N))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with pages.torchs(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        with autocast(precision, torch.device("cpu")):
            nll, _ = net.head(net.norm(x), targets)
        nll.sum().backward()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    peak = live.max() + x.numel() * 4
    assert peak == pytest.approx(memory.head_bytes(config, N, precision), rel=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_head_under_tensor_parallelism_needs_what_is_allocated(precision):
    V, C, N = 16384, 128, 4096  # of two ranks
    x = torch.randn(1, N, C, requires_grad=True)
    weight = torch.randn(V // 2, C, requires_grad=True)
    targets = torch.randint(0, V, (1, N))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with pages.torchs(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        with autocast(precision, torch.device("cpu")):
            nll, _ = vocab_parallel_loss(x, weight, targets, 0, Wire(SoloGroup(), Clock()))
        nll.sum().backward()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    peak = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max()
    ends = 3 * 4 * N * C  # without the norm here a third to two thirds of them
    formula = memory.head_bytes(ModelConfig(vocab_size=V, num_layers=1, dim=C, num_heads=4), N, precision, 2)
    assert 0.9 * (formula - ends) <= peak <= 1.1 * formula


def test_a_loss_that_is_not_fused_keeps_its_logits():
    fused = memory.head_bytes(SMALL, 64, "fp32")
    ends, chunk, gradient = 64 * 64 * 12, 64 * 500 * 4, 500 * 64 * 4
    assert fused == ends + chunk + gradient
    assert memory.head_bytes(SMALL, 64, "fp32", is_fused=False) == ends + 64 * 500 * 8
    assert memory.head_bytes(SMALL, 64, "bf16", tp=2) == ends + 64 * 250 * 6 + 250 * 64 * 8
    assert memory.head_bytes(SMALL, 64, "fp16") == ends + 64 * 500 * 10


def test_weights_by_precision():
    params, matrices = memory.rank_params(SMALL, LayoutConfig(dp=1))
    held = {
        precision: memory.rank_memory(SMALL, LayoutConfig(dp=1), micro_tokens=64, num_micro=1, precision=precision)
        for precision in ("fp32", "bf16", "bf16_stochastic")
    }
    assert held["fp32"].weights == 4 * params
    assert held["bf16"].weights == 4 * params, "copies in bf16 are made twice and not kept"
    assert held["bf16_stochastic"].weights == 2 * matrices + 4 * (params - matrices)
    assert len({m.optimizer for m in held.values()}) == 1
    assert held["bf16_stochastic"].activations == held["bf16"].activations


def test_gradients_of_one_micro_batch_move_in_where_activations_were():
    def held(num_micro, tokens):
        return memory.rank_memory(SMALL, LayoutConfig(dp=1), micro_tokens=tokens, num_micro=num_micro, precision="fp32")

    params, _ = memory.rank_params(SMALL, LayoutConfig(dp=1))
    few, many, two = held(1, 1), held(1, 4096), held(2, 4096)
    assert 0 < few.gradients == 4 * params - few.activations - few.head
    assert many.gradients == 0
    assert two.gradients == 4 * params, "those of the first lie beside the activations of the second"


def test_a_checkpoint_beside_the_training_by_hand():
    limit = memory.FILE_BYTES
    assert memory.checkpoint_bytes(100, 200, async_write=True) == 300 + 2 * 300, "a copy, and its only file twice"
    assert memory.checkpoint_bytes(100, 200, async_write=False) == 3 * 300
    assert memory.checkpoint_bytes(limit, 2 * limit, async_write=True) == 5 * limit
    assert memory.checkpoint_bytes(limit, 2 * limit, async_write=False) == 3 * limit


def test_the_total_is_of_all_parts():
    held = memory.rank_memory(
        SMALL, LayoutConfig(dp=1), micro_tokens=64, num_micro=1, precision="bf16_stochastic", process=7
    )
    parts = held.to_dict()
    total = parts.pop("total")
    assert total == sum(parts.values()) == held.total
    params, matrices = memory.rank_params(SMALL, LayoutConfig(dp=1))
    assert held.checkpoint == 3 * (12 * params - 2 * matrices), "bf16 matrices are written as such"


def test_recomputed_layers_keep_their_input():
    def held(recompute, pp=1):
        return memory.rank_memory(SMALL, LayoutConfig(dp=1, pp=pp), micro_tokens=64, num_micro=8, precision="fp32",
                                  recompute=recompute).activations  # fmt: skip

    layer, boundary = memory.activation_bytes(SMALL, 64, "fp32"), 4 * 64 * 64
    assert held(0) == 4 * layer
    assert held(1) == 4 * boundary + layer
    assert held(2) == held(3) == 2 * layer + 2 * boundary + layer
    assert held(1, pp=2) == 2 * 2 * boundary + layer  # two layers a stage, two micro-batches in flight


def test_kv_cache_by_hand():
    assert kv_cache(SMALL) == {"this model": 2 * 4 * 2 * 16 * 2, "all heads (MHA)": 2 * 4 * 4 * 16 * 2,
                               "one head (MQA)": 2 * 4 * 1 * 16 * 2}  # fmt: skip


def test_longer_contexts_cost_more_attention():
    rows = contexts(SMALL, [128, 256])
    extra = rows[1]["flops_per_token"] - rows[0]["flops_per_token"]
    assert extra == 6 * 4 * 4 * 16 * 128  # 6 L H D a token of context
    assert rows[1]["kv_cache_bytes"] == 2 * rows[0]["kv_cache_bytes"]
    assert 0 < rows[0]["attention_share"] < rows[1]["attention_share"] < 1


def test_calibration_predicts_a_step():
    found = estimate(SMALL, **RUN, price_per_rank_hour=36.0)
    assert found.step_s > 0
    assert found.total_s == pytest.approx(10 * found.step_s)
    assert found.tokens_per_s == pytest.approx(256 / found.step_s)
    assert found.price == pytest.approx(found.total_s / 100)
    assert "1 and of 2 layers" in found.calibration["method"]
    assert found.calibration["tokens"] == 64


def test_time_by_hand(monkeypatch):
    times = calibrate.Calibration(first_layer_s=1.0, layer_s=0.5, tokens=64, optimizer_s=1e-6,
                                  allreduce_bytes_per_s=1e6, method="")  # fmt: skip
    monkeypatch.setattr("fasttrain.estimate.estimate.calibrate", lambda *a, **k: times)
    micro = 1.0 + 3 * 0.5
    params = memory.rank_params(SMALL, LayoutConfig(dp=1))[0]
    one = estimate(SMALL, **RUN)
    assert one.step_s == pytest.approx(4 * micro + 1e-6 * params)
    two = estimate(SMALL, **RUN, layout=LayoutConfig(dp=2), num_ranks=2)
    assert two.step_s == pytest.approx(2 * micro + 1e-6 * params + 4 * params / 1e6)
    pipe = estimate(SMALL, **RUN, layout=LayoutConfig(pp=2), num_ranks=2)
    held = memory.rank_params(SMALL, LayoutConfig(dp=1, pp=2))[0]
    assert pipe.step_s == pytest.approx((4 + 1) * micro / 2 + 1e-6 * held)


def test_recomputing_costs_a_forward(monkeypatch):
    times = calibrate.Calibration(first_layer_s=1.0, layer_s=0.5, recompute_s=0.2, tokens=64, optimizer_s=0.0,
                                  allreduce_bytes_per_s=None, method="")  # fmt: skip
    asked = []
    monkeypatch.setattr("fasttrain.estimate.estimate.calibrate", lambda *a, **k: asked.append(k["recompute"]) or times)
    for recompute, again in ((0, 0), (1, 4), (3, 2)):
        assert estimate(SMALL, **RUN, recompute=recompute).step_s == pytest.approx(4 * (2.5 + 0.2 * again))
    assert asked == [False, True, True]


def test_what_recomputing_costs_is_measured_of_two_layers(monkeypatch):
    measured = iter([1.0, 0.5, 3.0, 3.8])  # one layer, the optimizer, two layers, two layers recomputed
    monkeypatch.setattr("fasttrain.estimate.calibrate._median", lambda work, *rest: work() or next(measured))
    found = estimate(SMALL, **RUN, recompute=2).calibration
    assert (found["first_layer_s"], found["layer_s"]) == (1.0, 2.0)
    assert found["recompute_s"] == pytest.approx(0.4)


def test_saved_and_compared(tmp_path):
    run = RunFolder(tmp_path)
    assert load(run) is None
    found = Estimate(**{**estimate(SMALL, **RUN, run_calibration=False).to_dict(), "step_s": 2.0})
    save(run, found)
    assert load(run) == found
    errors = error(found, [9.0, 1.0, 1.0, 1.0], memory_bytes=found.memory["total"] / 2)
    assert errors["step_s"] == {"predicted": 2.0, "measured": 1.0, "error": 1.0}
    assert errors["total_s"] == {"predicted": 8.0, "measured": 12.0, "error": pytest.approx(-1 / 3)}
    assert errors["memory_bytes"]["error"] == 1.0
    text = printed(format_error(errors))
    assert "step predicted 2.000 s, measured 1.000 s, error +100%" in text


def test_the_table_prints_the_formula():
    text = printed(format_estimate(estimate(SMALL, **RUN, run_calibration=False)))
    assert "6 * (non-embedding matrix weights" in text
    assert "KV cache, one head (MQA)" in text
    assert "calibration was switched off" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_rows": 7}, "must be a multiple of layout.dp"),
        ({"layout": LayoutConfig(dp=3), "num_ranks": 2}, "dp \\* tp \\* pp must be the number of ranks"),
    ],
)
def test_refuses(changes, words):
    with pytest.raises(ConfigError, match=words):
        estimate(SMALL, **{**RUN, **changes}, run_calibration=False)


def test_refuses_a_model_without_a_vocabulary():
    with pytest.raises(ConfigError, match="model.vocab_size"):
        estimate(SMALL.model_copy(update={"vocab_size": 0}), **RUN)
