import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from fasttrain.batch.config import BatchWarmup
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
from fasttrain.model.cost import flops_per_token
from fasttrain.model.init import init_
from fasttrain.model.transformer import Transformer
from fasttrain.monitor.spans import Spans
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon import orthogonalize
from fasttrain.parallel.tensor import vocab_parallel_loss
from fasttrain.parallel.wire import Wire
from parallel import made_mesh

SMALL = ModelConfig(vocab_size=500, num_layers=4, dim=64, num_heads=4, num_kv_heads=2, ffn_dim=192)
MUON = OptimConfig(name="muon")
RATE = 1e9  # FLOP/s of its products
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
            nll, _ = vocab_parallel_loss(x, weight, targets, 0, Wire(SoloGroup(), Spans()))
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


@pytest.mark.parametrize("optim", [OptimConfig(), MUON], ids=["adamw", "muon"])
def test_moments_are_those_that_the_engine_keeps(optim):
    held = memory.rank_memory(SMALL, LayoutConfig(dp=1), micro_tokens=64, num_micro=1, precision="fp32", optim=optim)
    engine = made_mesh.engine(SMALL, optim)
    assert held.optimizer == sum(moment.nbytes for moment in engine._update.moments())
    names = [name.removeprefix("optim.m.").removeprefix("optim.v.") for name in engine.state_names()]
    state = sum(math.prod(engine.plan.shapes[name]) for name in names)
    assert held.checkpoint == 3 * 4 * state, "what is written"


def test_gradients_of_one_micro_batch_move_in_where_activations_were():
    def held(num_micro, tokens):
        return memory.rank_memory(SMALL, LayoutConfig(dp=1), micro_tokens=tokens, num_micro=num_micro, precision="fp32")

    params, _ = memory.rank_params(SMALL, LayoutConfig(dp=1))
    few, many, two = held(1, 1), held(1, 4096), held(2, 4096)
    assert 0 < few.gradients == 4 * params - few.activations - few.head
    assert many.gradients == 0
    assert two.gradients == 4 * params, "those of the first lie beside the activations of the second"


def test_what_a_card_keeps_by_hand():
    """Gradients of a graph, copies in bf16, the second summand of a recomputed layer's input."""

    def held(precision="bf16", config=SMALL, pp=1, **keys):
        layout = LayoutConfig(dp=1, pp=pp)
        return memory.rank_memory(config, layout, micro_tokens=64, num_micro=1, precision=precision, **keys)

    (params, matrices), N, C, L = memory.rank_params(SMALL, LayoutConfig(dp=1)), 64, SMALL.dim, SMALL.num_layers
    copies = 2 * (matrices - 2 * SMALL.vocab_size * C)
    for precision, extra in (("fp32", 0), ("bf16", copies), ("fp16", copies), ("bf16_stochastic", 0)):
        card = held(precision, device="cuda")
        assert card.activations == held(precision).activations + extra, precision
        assert card.gradients == max(0, 4 * params - card.activations - card.head)
        assert held(precision, device="cuda", cuda_graph=True).gradients == 4 * params
        again = held(precision, recompute=1).activations + L * N * C * memory._width(precision)
        assert held(precision, device="cuda", recompute=1).activations == again + extra // L
    assert held(device="cuda", recompute=1, pp=2).activations == held(recompute=1, pp=2).activations + copies // L
    dropping = SMALL.model_copy(update={"dropout": 0.1})
    for other in (held(cuda_graph=True), held(device="cuda", cuda_graph=True, config=dropping)):
        assert other.gradients < 4 * params, "there is no graph"


def test_the_loss_on_a_card_by_hand(monkeypatch):
    ends, sums, row = 64 * 64 * 12, 500 * 64 * 4, 512 * 2
    card = {precision: memory.head_bytes(SMALL, 64, precision, device="cuda") for precision in ("fp32", "bf16")}
    assert card["fp32"] == ends + sums + max(64 * row * 2, sums + 64 * 64 * 4)
    assert card["bf16"] == ends + sums + max(64 * row + 500 * 64 * 2, sums + 64 * 64 * 2)
    monkeypatch.setattr(memory.linear_cross_entropy_cuda, "LOGITS_BYTES", 200 * row)
    many = memory.head_bytes(SMALL, 1000, "bf16", device="cuda")
    assert many == 1000 * 64 * 12 + sums + max(200 * row + 500 * 64 * 2, sums + 1000 * 64 * 2)


def test_sums_over_replicas_take_room_that_a_checkpoints_files_do_not_leave(monkeypatch):
    def held(dp):
        return memory.rank_memory(SMALL, LayoutConfig(dp=dp), micro_tokens=64, num_micro=1, precision="fp32").exchange

    params, _ = memory.rank_params(SMALL, LayoutConfig(dp=1))
    assert held(2) == 0, "a file of weights and moments, twice, is larger"
    monkeypatch.setattr(memory, "FILE_BYTES", params)
    assert held(2) == 4 * params - 2 * params
    assert held(1) == 0


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
                                  allreduce_bytes_per_s=1e6, num_ranks=2, method="")  # fmt: skip
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


def muons_times(monkeypatch, **changes):
    """A calibration of which each figure can be told from the others."""
    rates = dict.fromkeys(("32x64", "64x64", "64x192"), RATE)
    times = {"first_layer_s": 1.0, "layer_s": 0.5, "tokens": 64, "optimizer_s": 1e-6, "norm_s": 1e-7, "num_ranks": 2,
             "muon_passes_s": 2e-6, "muon_flops_per_s": rates, "allreduce_bytes_per_s": 1e6, "method": ""}  # fmt: skip
    found = calibrate.Calibration(**times | changes)
    monkeypatch.setattr("fasttrain.estimate.estimate.calibrate", lambda *a, **k: found)


def counted_products(model):
    """FLOPs of all of Muon's products of a step, counted as they run, and the parameters that are multiplied."""
    matrices = [p for name, p in Transformer(model).named_parameters() if name.startswith("blocks.") and p.ndim == 2]
    with FlopCounterMode(display=False) as counter:
        for p in matrices:
            orthogonalize(p.detach(), dtype=torch.float32)
    return counter.get_total_flops(), sum(p.numel() for p in matrices)


def test_muons_step_by_hand(monkeypatch):
    """Every term of it: none can be left out or counted twice."""
    muons_times(monkeypatch)
    flops, muons = counted_products(SMALL)
    params = memory.rank_params(SMALL, LayoutConfig(dp=1))[0]
    passes = 1e-7 * (3 * params - muons) + 1e-6 * (params - muons) + 2e-6 * muons
    compute = 1.0 + 3 * 0.5
    one = estimate(SMALL, **RUN, optim=MUON)
    assert one.step_s == pytest.approx(4 * compute + passes + flops / RATE)  # a rank by itself has nothing to exchange
    two = estimate(SMALL, **RUN, optim=MUON, layout=LayoutConfig(dp=2), num_ranks=2)
    exchange = 4 * params / 1e6 + 4 * muons / 2 / 1e6  # half of the updates are made elsewhere
    assert two.step_s == pytest.approx(2 * compute + passes + flops / RATE / 2 + exchange)
    assert sum(two.step_parts.values()) == pytest.approx(two.step_s)
    assert two.step_parts["Muon's products"] == pytest.approx(flops / RATE / 2)
    assert "Muon's products" in printed(format_estimate(two))
    bf16 = estimate(SMALL, **RUN, optim=MUON, layout=LayoutConfig(dp=2), num_ranks=2, precision="bf16")
    assert two.step_s - bf16.step_s == pytest.approx(2 * muons / 2 / 1e6), "updates travel as products leave them"


def test_muon_under_tensor_and_pipeline_parallelism_by_hand(monkeypatch):
    muons_times(monkeypatch, first_layer_s=0.0, layer_s=0.0, optimizer_s=0.0, norm_s=0.0)
    flops, muons = counted_products(SMALL)
    tp = estimate(SMALL, **RUN, optim=MUON, layout=LayoutConfig(tp=2), num_ranks=2)
    mine = muons / 2
    exchange = (mine * 4 / 2 + mine * 4 / 2) / 1e6  # updates from the other one, and slices to it
    assert tp.step_s == pytest.approx(2e-6 * mine + flops / RATE / 2 + exchange)
    pp = estimate(SMALL, **RUN, optim=MUON, layout=LayoutConfig(pp=2), num_ranks=2)
    assert pp.step_s == pytest.approx(2e-6 * muons / 2 + flops / RATE / 2), "half of the layers, nothing to exchange"


def test_a_shape_counts_at_its_own_rate(monkeypatch):
    muons_times(monkeypatch)
    before = estimate(SMALL, **RUN, optim=MUON).step_s
    muons_times(monkeypatch, muon_flops_per_s={"32x64": RATE, "64x64": RATE, "64x192": RATE / 2})
    slower = 4 * 3 * 2 * 5 * (2 * 64 * 64 * 192 + 64**3) / RATE  # layers, matrices, FLOPs, steps
    assert estimate(SMALL, **RUN, optim=MUON).step_s - before == pytest.approx(slower)


def test_what_the_calibration_has_loaded_counts_as_the_process(monkeypatch):
    muons_times(monkeypatch)
    seen = iter([100, 130, 100, 90, 100])
    monkeypatch.setattr("fasttrain.estimate.estimate.memory_bytes", lambda device: next(seen))
    assert [estimate(SMALL, **RUN).memory["process"] for _ in range(2)] == [130, 100]
    assert estimate(SMALL, **RUN, run_calibration=False).memory["process"] == 100


def test_muons_rates_are_measured_here():
    found = estimate(SMALL, **RUN, optim=MUON)
    assert found.calibration["muon_flops_per_s"].keys() == {"32x64", "64x64", "64x192"}
    assert min(found.calibration["muon_flops_per_s"].values()) > 0
    assert min(found.calibration["muon_passes_s"], found.calibration["norm_s"]) > 0
    assert "Muon's products" in found.calibration["method"]
    assert estimate(SMALL, **RUN).calibration["muon_flops_per_s"] == {}


def test_a_large_matrix_is_measured_by_a_smaller_one(monkeypatch):
    seen = []
    monkeypatch.setattr(calibrate, "MUON_FLOPS", 10 * (2 * 32 * 32 * 96 + 32**3))
    monkeypatch.setattr(calibrate, "orthogonalize", lambda x, dtype: seen.append((tuple(x.shape), dtype)))
    estimate(SMALL, **RUN, optim=MUON)
    assert {shape for shape, _ in seen} == {(32, 64), (32, 32), (32, 96)}
    assert {dtype for _, dtype in seen} == {torch.float32}


def test_a_warm_up_of_batches_counts_in_the_whole_run(monkeypatch):
    muons_times(monkeypatch, norm_s=0.0, optimizer_s=0.0)
    warmup = (BatchWarmup(steps=3, global_batch=4), BatchWarmup(steps=4, seq_len=8))
    found = estimate(SMALL, **RUN, warmup=warmup)
    assert found.total_tokens == (3 * 4 + 4 * 8 + 3 * 8) * 32
    shorter = flops_per_token(SMALL, 8) / flops_per_token(SMALL, 32)
    assert found.step_s == pytest.approx(4 * 2.5)
    assert found.total_s == pytest.approx((3 * 2 + 4 * 4 * shorter + 3 * 4) * 2.5)
    assert found.total_flops == pytest.approx(flops_per_token(SMALL, 32) * 32 * (12 + 32 * shorter + 24))
    cut = estimate(SMALL, **RUN | {"num_steps": 2}, warmup=warmup)
    assert (cut.total_tokens, cut.total_s) == (2 * 4 * 32, pytest.approx(2 * 2 * 2.5))


def test_recomputing_costs_a_forward(monkeypatch):
    times = calibrate.Calibration(first_layer_s=1.0, layer_s=0.5, recompute_s=0.2, tokens=64, optimizer_s=0.0,
                                  allreduce_bytes_per_s=None, method="")  # fmt: skip
    asked = []
    monkeypatch.setattr("fasttrain.estimate.estimate.calibrate", lambda *a, **k: asked.append(k["recompute"]) or times)
    for recompute, again in ((0, 0), (1, 4), (3, 2)):
        assert estimate(SMALL, **RUN, recompute=recompute).step_s == pytest.approx(4 * (2.5 + 0.2 * again))
    assert asked == [False, True, True]


def test_what_recomputing_costs_is_measured_of_two_layers(monkeypatch):
    measured = iter([1.0, 0.5, 0.1, 3.0, 3.8])  # one layer, the optimizer, a norm, two layers, two layers recomputed
    monkeypatch.setattr("fasttrain.estimate.calibrate._median", lambda work, *rest: (work(), next(measured))[1])
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
