import gc
import math
import weakref

import numpy as np
import pytest
import torch

from fasttrain.core.errors import ConfigError
from fasttrain.model.init import init_
from fasttrain.model.transformer import Transformer
from fasttrain.optim import adamw_ref
from fasttrain.optim.adamw import AdamW, adamw_
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon import Muon, muon_step_
from fasttrain.parallel.data import FlatParameters
from fasttrain.parallel.plan import Plan
from fasttrain.parallel.update import Update
from parallel.made_mesh import SMALL, cut, engine, place, rows

EPS = float(np.finfo(np.float32).eps)
RAGGED = [16, 1, 9, 0, 3, 16]


def gradients(e):
    return {name: e.flat.grad(name).clone() for name in e.plan.names}


def plain(config, micro):
    """Loss and gradients of the model by itself."""
    with torch.device("cpu"):
        model = init_(Transformer(config), 5)
    nll, z2 = model(micro.tokens, micro.targets)
    loss = (nll.sum() + config.z_loss * z2.sum()) / (micro.targets >= 0).sum()
    loss.backward()
    return nll, model


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_those_of_the_model_alone(tied):
    config = SMALL.model_copy(update={"tied_embeddings": tied, "z_loss": 0.01})
    e, micro = engine(config), rows(1, RAGGED)
    sums = e.forward_backward([micro], step=0)
    nll, model = plain(config, micro)
    assert sums.num_tokens == sum(RAGGED)
    assert sums.mean_loss == pytest.approx(nll.sum().item() / sum(RAGGED), rel=8 * EPS)
    for name, p in model.named_parameters():
        torch.testing.assert_close(e.flat.grad(name), p.grad, rtol=1e-5, atol=1e-7)
    norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))
    assert e.grad_norm() == pytest.approx(norm, rel=8 * EPS)


@pytest.mark.parametrize("sizes", [[1] * 6, [4, 2], [2, 3, 1], [5, 1]])
def test_accumulation_with_ragged_targets_equals_the_full_batch(sizes):
    micro, whole, parts = rows(2, RAGGED), engine(), engine()
    a, b = whole.forward_backward([micro], step=0), parts.forward_backward(cut(micro, sizes), step=0)
    assert (a.num_tokens, a.tokens_by_source.tolist()) == (b.num_tokens, b.tokens_by_source.tolist())
    assert b.loss == pytest.approx(a.loss, rel=EPS * len(sizes))
    np.testing.assert_allclose(b.loss_by_source, a.loss_by_source, rtol=EPS * len(sizes))
    for name, grad in gradients(whole).items():
        off = (parts.flat.grad(name) - grad).norm() / grad.norm()
        # Megatron-LM's bound (tests/mpi/jobs/layouts.py), and one rounding for each sum of micro-batches
        assert off <= (4 * 1.03 ** (SMALL.num_layers + 1) + len(sizes)) * EPS, name


def test_a_mean_of_means_would_be_seen():
    """The test above has teeth: weighting micro-batches alike is far outside its bound."""
    micro, e = rows(2, RAGGED), engine()
    e.forward_backward([micro], step=0)
    right = e.flat.grads()
    wrong = torch.zeros_like(right)
    for piece in cut(micro, [2, 4]):
        e.forward_backward([piece], step=0)
        wrong += e.flat.grads() / 2
    assert (wrong - right).norm() / right.norm() > 0.01


def test_sources_are_told_apart():
    e, micro = engine(), rows(3, [16, 4, 2, 0])
    sums = e.forward_backward([micro], step=0)
    nll, _ = plain(SMALL, micro)
    for source in (0, 1):
        mine = nll[micro.sources == source].double().sum().item()
        assert sums.loss_by_source[source] == pytest.approx(mine, rel=8 * EPS)
    assert sums.tokens_by_source.tolist() == [18, 4]
    assert sums.mean_by_source(["a", "b"])["a"] == pytest.approx(sums.loss_by_source[0] / 18)


def test_a_batch_without_targets_has_no_gradient_and_no_mean():
    e = engine()
    sums = e.forward_backward([rows(1, [0, 0])], step=0)
    assert math.isnan(sums.mean_loss)
    assert e.grad_norm() == 0.0


def test_one_update_is_adamw_with_clipping():
    optim = OptimConfig(lr=1e-2, clip_norm=0.1, weight_decay=0.2)
    e, micro = engine(optim=optim), rows(4, RAGGED)
    _, model = plain(SMALL, micro)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1, error_if_nonfinite=True)
    assert norm > 0.1, "clipping must have something to do"
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.2},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    theirs.step()
    e.forward_backward([micro], step=0)
    e.update(lr=1e-2, grad_norm=e.grad_norm())
    assert e.optimizer_steps == 1
    for name, p in model.named_parameters():
        moved = (p - e.stage.named[name]).abs().max().item()
        assert moved <= 1e-2 * 1e-3, f"{name}: off by {moved}, a step is 1e-2"


def test_dropout_depends_on_step_and_row_alone():
    config = SMALL.model_copy(update={"dropout": 0.3})
    micro, e = rows(6, [16, 16, 16]), engine(config)
    whole = e.forward_backward([micro], step=2).loss
    assert e.forward_backward(cut(micro, [1, 2]), step=2).loss == pytest.approx(whole, rel=8 * EPS)
    assert e.forward_backward([micro], step=3).loss != pytest.approx(whole, rel=1e-5), "another step, other masks"
    assert e.evaluate([micro]).loss == e.evaluate([micro]).loss


def test_state_goes_round_by_global_names():
    a, b, micro = engine(), engine(), rows(7, RAGGED)
    for step in range(3):
        a.forward_backward([micro], step=step)
        a.update(lr=1e-2, grad_norm=a.grad_norm())
    tensors = {name: tensor.clone() for name, tensor in a.gather()}
    assert list(tensors) == a.state_names()
    b.load(tensors, optimizer_steps=3)
    for e in (a, b):
        e.forward_backward([micro], step=3)
        e.update(lr=1e-2, grad_norm=e.grad_norm())
    assert torch.equal(a.flat.weights, b.flat.weights)
    b.load(tensors, optimizer_steps=None)
    assert b.optimizer_steps == 0
    assert torch.equal(b.stage.named["embed.weight"], tensors["embed.weight"])
    assert not dict(b.gather())["optim.v.norm.weight"].any()


MUON = OptimConfig(name="muon", lr=1e-2, weight_decay=0.1, momentum=0.9)


@pytest.mark.parametrize("ratio", [1.0, 4.0, 0.25])
def test_one_update_by_muon_is_muon_on_the_blocks_matrices_and_adamw_elsewhere(ratio):
    e, micro = engine(optim=MUON.model_copy(update={"embed_lr_ratio": ratio})), rows(4, RAGGED)
    before = {name: p.detach().clone() for name, p in e.stage.named.items()}
    e.forward_backward([micro], step=0)
    norm = e.grad_norm()
    grads = {name: grad / max(norm, 1.0) for name, grad in gradients(e).items()}
    e.update(lr=1e-2, grad_norm=norm)
    for name, p in before.items():
        by_muon = name.startswith("blocks.") and p.ndim == 2
        keys = {"momentum": 0.9, "dtype": torch.float32} if by_muon else {}
        optimizer = (Muon if by_muon else AdamW)([q := torch.nn.Parameter(p)], weight_decay=0.1 * (p.ndim == 2), **keys)
        scale = ratio if name == "embed.weight" else 1.0
        optimizer.param_groups[0]["lr"] = 1e-2 * scale
        optimizer.param_groups[0]["weight_decay"] /= scale
        q.grad = grads[name]
        optimizer.step()
        torch.testing.assert_close(e.stage.named[name].detach(), q.detach(), rtol=1e-5, atol=1e-6)
    assert not e.flat.grads().any(), "used up"


@pytest.mark.parametrize("tied", [False, True])
def test_muons_state_goes_round_by_global_names(tied):
    config = SMALL.model_copy(update={"tied_embeddings": tied})
    a, b, micro = engine(config, MUON), engine(config, MUON), rows(7, RAGGED)
    for step in range(3):
        a.forward_backward([micro], step=step)
        a.update(lr=1e-2, grad_norm=a.grad_norm())
    tensors = {name: tensor.clone() for name, tensor in a.gather()}
    assert list(tensors) == a.state_names()
    assert "optim.m.blocks.0.attn.wq.weight" in tensors
    assert "optim.v.blocks.0.attn.wq.weight" not in tensors
    assert tensors["optim.v.embed.weight"].any()
    b.load(tensors, optimizer_steps=3)
    for e in (a, b):
        e.forward_backward([micro], step=3)
        e.update(lr=1e-2, grad_norm=e.grad_norm())
    assert torch.equal(a.flat.weights, b.flat.weights)
    assert b.optimizer_steps == 4
    b.load(tensors, optimizer_steps=None)
    assert not any(t.any() for name, t in b.gather() if name.startswith("optim."))


def test_muon_refuses_the_rates_of_width_transfer():
    with pytest.raises(ConfigError, match="the rates of model.mup_base_dim are AdamW's"):
        engine(SMALL.model_copy(update={"mup_base_dim": 8}), MUON)


def test_load_refuses_another_model():
    tensors = dict(engine().gather())
    with pytest.raises(ValueError, match=r"load: embed.weight must have shape \(62, 16\), got \(61, 16\)"):
        engine(SMALL.model_copy(update={"vocab_size": 62})).load(tensors, optimizer_steps=0)


def test_a_non_finite_gradient_anywhere_makes_the_norm_non_finite():
    e = engine()
    e.forward_backward([rows(1, [8])], step=0)
    for bad in (math.nan, math.inf):
        e.flat.grad("blocks.1.ffn_norm.weight")[3] = bad
        assert not math.isfinite(e.grad_norm())


@pytest.mark.parametrize(("precision", "bits"), [("bf16", 8), ("fp16", 11)])
def test_half_precision_is_near_fp32(precision, bits):
    micro, full, half = rows(8, RAGGED), engine(), engine(precision=precision)
    a, b = full.forward_backward([micro], step=0), half.forward_backward([micro], step=0)
    assert b.mean_loss == pytest.approx(a.mean_loss, rel=2.0**-bits)
    assert b.loss != a.loss, "it must really compute in half precision"
    grads, exact = half.flat.grads() / half.scaler.scale, full.flat.grads()
    assert (grads - exact).norm() / exact.norm() < 4 * 2.0**-bits * math.sqrt(SMALL.num_layers)
    assert half.grad_norm() == pytest.approx(full.grad_norm(), rel=4 * 2.0**-bits)


@pytest.mark.parametrize("recompute", [1, 2])
def test_recomputing_blocks_changes_no_bit(recompute):
    config, micro = SMALL.model_copy(update={"dropout": 0.1, "z_loss": 0.01}), rows(4, RAGGED)
    plain, again = engine(config), engine(config, recompute=recompute)
    for step in range(2):
        sums = [e.forward_backward(cut(micro, [4, 2]), step=step) for e in (plain, again)]
        assert sums[0].loss == sums[1].loss
        assert torch.equal(plain.flat.grads(), again.flat.grads())
        for e in (plain, again):
            e.update(lr=1e-2, grad_norm=e.grad_norm())
    assert plain.evaluate([micro]).loss == again.evaluate([micro]).loss


STOCHASTIC = {"precision": "bf16_stochastic"}
GPT2 = SMALL.model_copy(update={"num_kv_heads": 4, "positions": "learned", "bias": True, "tied_embeddings": True,
                                "norm": "layer", "activation": "gelu_tanh"})  # fmt: skip


def updated(config, mesh):
    """This rank's weights after three updates with gradients that are cut from those of the whole model."""
    plan = Plan(config, mesh)
    whole = {name: torch.randn(shape, generator=torch.Generator().manual_seed(i)) / 50
             for i, (name, shape) in enumerate(plan.shapes.items())}  # fmt: skip
    named = []
    for name in plan.names:
        part = plan.cut(name).of(whole[name]).clone()
        named.append((name, torch.nn.Parameter(part.bfloat16() if part.ndim > 1 else part)))
    flat = FlatParameters(named, torch.device("cpu"))
    update = Update(flat, OptimConfig(), plan=plan, precision="bf16_stochastic", seed=7)
    for k in range(3):
        for name in plan.names:
            flat.grad(name).copy_(plan.cut(name).of(whole[name].roll(k + 1)))
        update.step(lr=1e-4, grad_scale=1.0)
        assert not flat.grads().any()
    return plan, {name: flat.weight(name).clone() for name in plan.names}


@pytest.mark.parametrize("config", [SMALL, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("threads", [1, 3])
def test_stochastic_rounding_is_the_same_however_the_model_is_cut(config, threads, monkeypatch):
    _, whole = updated(config, place())
    monkeypatch.setenv("FASTTRAIN_THREADS", str(threads))
    seen = set()
    for tp, pp in [(1, 1), (2, 1), (1, 2), (2, 3)]:
        for t in range(tp):
            for p in range(pp):
                plan, mine = updated(config, place(tp=(t, tp), pp=(p, pp), dp=(1, 2)))
                for name, weight in mine.items():
                    assert weight.dtype == (torch.bfloat16 if weight.ndim > 1 else torch.float32)
                    assert torch.equal(weight, plan.cut(name).of(whole[name])), (name, tp, pp)
                seen |= set(mine)
    assert seen == set(whole)


def test_no_two_parameters_share_their_draws():
    plan = Plan(SMALL, place())
    streams = [plan.place(name)["stream"] for name in plan.names]
    assert streams == list(range(len(plan.shapes)))


def test_gradients_of_bf16_weights_add_up_in_fp32():
    """Many micro-batches: their sum is as exact as with fp32 weights, and no bf16 gradient is left over."""
    config = SMALL.model_copy(update={"tied_embeddings": True})
    half, master = engine(config, **STOCHASTIC), engine(config, precision="bf16")
    for name in half.plan.names:
        master.flat.weight(name).copy_(half.flat.weight(name))
    micro = cut(rows(8, [16] * 24), [1] * 24)
    for e in (half, master):
        e.forward_backward(micro, step=0)
    for name in half.plan.names:
        off = (half.flat.grad(name) - master.flat.grad(name)).norm() / master.flat.grad(name).norm()
        assert off < 2.0**-8, name  # a rounding to bf16 of each micro-batch's own, which autocast does too
        assert half.stage.named[name].grad is None or half.stage.named[name].ndim == 1
    assert half.flat.halves.numel() + half.flat.weights.numel() == master.flat.weights.numel()
    assert half.flat.weights.numel() == sum(p.numel() for p in half.stage.named.values() if p.ndim == 1)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_stochastic_rounding_learns_as_a_master_does(name, monkeypatch):
    """Steps below half an ulp of bf16, which rounding to nearest loses."""
    micro, optim, losses = rows(9, [16] * 8), OptimConfig(name=name, lr=3e-5, weight_decay=0.0), {}
    config = SMALL.model_copy(update={"init_std": 0.1})
    for how in ("master", "stochastic", "nearest"):
        if how == "nearest":
            monkeypatch.setattr("fasttrain.optim.adamw.adamw_", to_nearest)
            monkeypatch.setattr("fasttrain.optim.muon.muon_step_", muon_to_nearest)
        e = engine(config, optim, precision="bf16" if how == "master" else "bf16_stochastic")
        first = e.forward_backward([micro], step=0).mean_loss
        for step in range(150):
            e.update(lr=optim.lr, grad_norm=e.grad_norm())
            last = e.forward_backward([micro], step=step + 1).mean_loss
        losses[how] = first - last
    assert losses["stochastic"] == pytest.approx(losses["master"], rel=0.1)
    assert losses["nearest"] < 0.8 * losses["master"]


def to_nearest(param, grad, m, v, **keys):
    exact = adamw_ref.widen(param) if param.dtype == np.uint16 else param
    adamw_(exact, grad, m, v, **keys)
    if exact is not param:
        param[...] = adamw_ref.nearest(exact)


def muon_to_nearest(param, update, **keys):
    exact = adamw_ref.widen(param)
    muon_step_(exact, update, **keys)
    param[...] = adamw_ref.nearest(exact)


def test_muon_keeps_no_fp32_form_of_bf16_matrices():
    """Momentum and gradients are fp32; every matrix moves, and embeddings are AdamW's."""
    e, micro = engine(optim=MUON, **STOCHASTIC), rows(4, RAGGED)
    before = {name: p.detach().clone() for name, p in e.stage.named.items()}
    e.forward_backward([micro], step=0)
    e.update(lr=1e-2, grad_norm=e.grad_norm())
    assert e.flat.halves.numel() == sum(p.numel() for p in before.values() if p.ndim > 1)
    assert not e.flat.grads().any(), "used up"
    state = dict(e.gather())
    for name, p in before.items():
        assert state[name].dtype == (torch.bfloat16 if p.ndim > 1 else torch.float32), name
        assert not torch.equal(state[name], p), name
        assert state["optim.m." + name].dtype == torch.float32
        assert ("optim.v." + name in state) == (p.ndim == 1 or not name.startswith("blocks.")), name


def test_averaged_bf16_weights_and_back():
    config = SMALL.model_copy(update={"mup_base_dim": 8})
    e, other = (engine(config, ema_decay=0.5, **STOCHASTIC) for _ in range(2))
    for step in range(2):
        e.forward_backward([rows(step, RAGGED)], step=step)
        e.update(lr=1e-2, grad_norm=1.0)
    state = {name: tensor.clone() for name, tensor in e.gather()}
    assert {state[n].dtype for n in ("embed.weight", "blocks.0.attn.wo.weight")} == {torch.bfloat16}
    assert {state[n].dtype for n in ("norm.weight", "ema.embed.weight", "optim.v.embed.weight")} == {torch.float32}
    other.load(state, optimizer_steps=e.optimizer_steps)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.gather())
    with e.averaged():
        assert torch.equal(e.stage.named["embed.weight"].detach(), state["ema.embed.weight"].bfloat16())
    assert torch.equal(e.stage.named["embed.weight"].detach(), state["embed.weight"])


def test_an_engine_that_is_dropped_gives_its_memory_back():
    e = engine(SMALL)
    e.forward_backward([rows(0, [8, 8])], step=0)
    kept = [weakref.ref(x) for x in (e.flat, e.flat.weights, e._update.m, next(iter(e.stage.named.values())))]
    del e
    gc.collect()
    assert [x() for x in kept] == [None] * len(kept)
