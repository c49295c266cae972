"""Trains one tiny model under every layout of 1, 2 and 4 ranks and compares each run with that of one process.

How far may they differ? Two bounds, neither tuned:

1. First step, same weights: for the gradient g of layer l (all its tensors as one vector, because a sum of a few
   cancelling terms has no relative accuracy of its own), ||g - g_ref|| / ||g_ref|| <= k C^(L + 1 - l) eps with k = 4,
   C = 1.03, eps of fp32: rounding that grows backwards through the layers (Megatron-LM's bound, arXiv:2506.09280).
2. Whole run: AdamW divides small gradients by their size, so that rounding can grow from step to step, and by how much
   depends on the model. One process shows it: trained again with noise of the size of bound 1 added to every gradient,
   it ends some distance from itself. A layout may be at most twice as far as the farthest of four noisy runs.
"""

import sys

import numpy as np
import torch

from fasttrain.comm.group import SoloGroup, world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig, learning_rate
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.plan import share
from fasttrain.parallel.stage import MicroBatch

NUM_STEPS, NUM_LAYERS, B, T, S = 20, 5, 7, 12, 3
MODELS = {
    # grouped queries, qk-norm, untied, dropout, document mask, two learning rates by muP; vocabulary, layers, hidden
    # and rows divide by nothing
    "grouped": ModelConfig(
        vocab_size=61,
        num_layers=NUM_LAYERS,
        dim=24,
        num_heads=8,
        num_kv_heads=4,
        head_dim=4,
        ffn_dim=30,
        max_seq_len=T,
        qk_norm=True,
        dropout=0.1,
        z_loss=1e-3,
        mup_base_dim=12,
    ),
    # a GPT-2: tied embeddings, learned positions, biases, layer norms; layouts recompute every other block
    "tied": ModelConfig(
        vocab_size=61, num_layers=NUM_LAYERS, dim=16, num_heads=4, ffn_dim=30, max_seq_len=T, dropout=0.1, family="gpt2"
    ),
    # trained by Muon
    "muon": ModelConfig(vocab_size=61, num_layers=NUM_LAYERS, dim=16, num_heads=4, ffn_dim=32, max_seq_len=T),
}
# weights in bf16 alone, rounded stochastically, and products in bf16, whose unit of rounding is then that of the bounds
MODELS["stochastic"], MODELS["muon_stochastic"] = MODELS["grouped"], MODELS["muon"]
ADAMW = OptimConfig(lr=3e-3, warmup_steps=3, clip_norm=0.5, weight_decay=0.1)
LAYOUTS = {
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    4: [(4, 1, 1), (1, 4, 1), (1, 1, 4), (2, 2, 1), (2, 1, 2), (1, 2, 2)],
}


def global_batch(step, masked):
    """Rows of which the later half has fewer targets, so that replicas hold different numbers of them."""
    rng = np.random.default_rng(step)
    tokens = (61 * rng.random((B, T + 1)) ** 4).astype(np.int64)  # low ids are common: something to learn
    targets = tokens[:, 1:].copy()
    for row in range(B):
        targets[row, T - row :] = -100
    segments = np.sort(rng.integers(0, 3, (B, T)), axis=1).astype(np.int32) if masked else None
    return tokens[:, :-1].copy(), targets, segments, rng.integers(0, S, (B, T))


def micro_batches(batch, rows):
    for start in range(rows.start, rows.stop, 2):
        part = slice(start, min(start + 2, rows.stop))
        tokens, targets, segments, sources = (None if a is None else torch.from_numpy(a[part]) for a in batch)
        yield MicroBatch(
            tokens=tokens, targets=targets, segments=segments, sources=sources, rows=tuple(range(part.start, part.stop))
        )


def layer_of(name):
    """0: embedding, 1..L: blocks, L + 1: last norm and head."""
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return 0 if name in ("embed.weight", "positions.weight") else NUM_LAYERS + 1


def growth(layer, model):
    """The first bound."""
    eps = torch.finfo(torch.bfloat16 if model.endswith("stochastic") else torch.float32).eps
    return 4 * 1.03 ** (NUM_LAYERS + 1 - layer) * eps


class Run:
    """Loss, z2, gradient norm and each source's loss of each step; gradients of the first; tensors after the last."""

    def __init__(self, group, layout, model, noise=None):
        mesh = build_mesh(group, LayoutConfig(dp=layout[0], tp=layout[1], pp=layout[2]))
        recompute = 2 if model == "tied" and group.size > 1 else 0
        optim = ADAMW.model_copy(update={"name": "muon", "embed_lr_ratio": 2.0}) if model.startswith("muon") else ADAMW
        precision = "bf16_stochastic" if model.endswith("stochastic") else "fp32"
        keys = {"seed": 11, "num_sources": S, "precision": precision}
        engine = Engine(MODELS[model], mesh, optim, bucket_bytes=4000, recompute=recompute, **keys)
        curve = []
        for step in range(NUM_STEPS):
            rows = share(B, mesh.dp.rank, mesh.dp.size)
            sums = engine.forward_backward(
                list(micro_batches(global_batch(step, MODELS[model] is MODELS["grouped"]), rows)), step=step
            )
            if step == 0:
                self.grads = together(group, gradients(engine))
            for name in engine.plan.names if noise else ():
                grad = engine.flat.grad(name)
                ones = torch.from_numpy(noise.standard_normal(grad.shape).astype(np.float32))
                grad += ones * (growth(layer_of(name), model) * grad.norm() / max(ones.norm(), 1e-30))
            norm = engine.grad_norm()
            engine.update(lr=learning_rate(optim, step, NUM_STEPS), grad_norm=norm)
            curve.append([sums.mean_loss, sums.z2 / sums.num_tokens, norm, *sums.loss_by_source])
        self.curve = np.array(curve)
        self.tensors = together(group, engine.gather())
        assert sorted(self.tensors) == sorted(engine.state_names())
        if model.endswith("stochastic") and group.size > 1:
            check_loaded(group, engine, Engine(MODELS[model], build_mesh(SoloGroup(), LayoutConfig()), optim, **keys))


def gradients(engine):
    """Whole gradients, gathered as weights are."""
    mean = engine._update.m  # fp32 and laid out alike, whatever the weights are
    before = mean.clone()
    mean.copy_(engine.flat.grads())
    found = [(n.removeprefix("optim.m."), t.clone()) for n, t in engine.gather() if n.startswith("optim.m.")]
    mean.copy_(before)
    return found


def check_loaded(group, engine, alone):
    """What a layout saves and one process loads and saves is the same to the bit, and bf16 stays bf16."""
    shares = group.allgather({name: tensor.clone() for name, tensor in engine.gather()})
    whole = {name: tensor for tensors in shares for name, tensor in tensors.items()}
    alone.load(whole, optimizer_steps=engine.optimizer_steps)
    for name, tensor in alone.gather():
        assert tensor.dtype == whole[name].dtype, name
        assert torch.equal(tensor, whole[name]), name
    assert whole["blocks.0.attn.wo.weight"].dtype == torch.bfloat16


def together(group, named):
    shares = group.allgather({name: tensor.float().numpy().copy() for name, tensor in named})
    names = [name for tensors in shares for name in tensors]
    assert len(names) == len(set(names)), "over all ranks each tensor must come once"
    return {name: tensor for tensors in shares for name, tensor in tensors.items()}


def distance(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / max(np.linalg.norm(b.astype(np.float64)), 1e-30))


def compare(where, model, run, expected, noisy):
    for layer in range(NUM_LAYERS + 2):
        names = [n for n in expected.grads if layer_of(n) == layer]
        off = distance(*(np.concatenate([g[n].ravel() for n in names]) for g in (run.grads, expected.grads)))
        bound = growth(layer, model)
        assert off <= bound, f"{where}: first gradient of layer {layer} is {off:.1e} off, at most {bound:.1e}"
    for column, what in enumerate(["loss", "z2", "gradient norm", *(f"loss of source {i}" for i in range(S))]):
        bound = 2 * max(distance(n.curve[:, column], expected.curve[:, column]) for n in noisy)
        off = distance(run.curve[:, column], expected.curve[:, column])
        assert off <= bound, f"{where}: {what} is {off:.1e} off over {NUM_STEPS} steps, at most {bound:.1e}"
    for kind in ("blocks", "embed", "positions", "head", "norm", "optim.m", "optim.v"):
        # What every key has changes no softmax: the gradient of its bias is 0 and rounding, of which AdamW makes steps.
        names = [n for n in expected.tensors if n.startswith(kind) and not n.endswith("wk.bias")]
        bound = 2 * max([distance(n.tensors[k], expected.tensors[k]) for n in noisy for k in names], default=0.0)
        for name in names:
            off = distance(run.tensors[name], expected.tensors[name])
            assert off <= bound, f"{where}: {name} is {off:.1e} off after {NUM_STEPS} steps, at most {bound:.1e}"


def main():
    everyone = world()
    pair = everyone.split(everyone.rank // 2, everyone.rank)
    torch.set_num_threads(1)
    for model in sys.argv[1:]:
        expected = everyone.bcast(Run(SoloGroup(), (1, 1, 1), model) if everyone.is_root else None)
        assert expected.curve[-3:, 0].mean() < expected.curve[:3, 0].mean(), "the run must learn something"
        noisy = everyone.allgather(Run(SoloGroup(), (1, 1, 1), model, noise=np.random.default_rng(everyone.rank)))
        mine = [(pair, layout) for layout in LAYOUTS[2][everyone.rank // 2 :: 2]]
        for group, layout in mine + [(everyone, layout) for layout in LAYOUTS[4]]:
            where = f"{model} dp={layout[0]} tp={layout[1]} pp={layout[2]}"
            compare(where, model, Run(group, layout, model), expected, noisy)
            if group.is_root:
                print(where, "equals one process", flush=True)


if __name__ == "__main__":
    main()
