"""Seconds that a rank computes in one Muon step that it shares with the others, against all of it done by each.

Workload: the matrices of two blocks of dim 768, hidden 2048, products in bf16, one thread a rank; gradients are drawn,
nothing else of a training step runs. The weights that both ways end with must have the same bits. Seconds are the
process's own (waiting spins, so it counts); `exchange` is what was spent in calls of MPI.
Usage: mpirun -n 2 python benchmarks/optim/shared_muon.py [--tp 2] [--layers 2] [--steps 5]
"""

import argparse
import statistics
import time

import torch

from fasttrain.comm.group import SoloGroup, world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.malloc import keep_pages
from fasttrain.model.config import ModelConfig
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine


def draw_gradients(engine, step):
    for i, name in enumerate(engine.plan.names):
        generator = torch.Generator().manual_seed(1000 * step + i)
        whole = torch.randn(engine.plan.shapes[name], generator=generator)
        engine.flat.grad(name).copy_(engine.plan.cut(name).of(whole))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    everyone = world()
    torch.set_num_threads(1)
    keep_pages()
    config = ModelConfig(vocab_size=256, num_layers=args.layers, dim=768, num_heads=12, ffn_dim=2048, max_seq_len=64)
    alone, shared = (
        Engine(config, build_mesh(group, layout), OptimConfig(name="muon"), seed=1, precision="bf16")
        for group, layout in ((SoloGroup(), LayoutConfig()), (everyone, LayoutConfig(tp=args.tp)))
    )
    seconds, exchange = {"alone": [], "shared": []}, []
    for step in range(args.steps + 1):
        for name, engine in (("alone", alone), ("shared", shared)):
            draw_gradients(engine, step)
            everyone.barrier()
            engine.spans.take()
            start = time.process_time()
            engine.update(lr=1e-3, grad_norm=1.0)
            seconds[name].append(time.process_time() - start)
        taken = shared.spans.take()
        exchange.append(taken["comm"] + taken["comm_wait"])
    for name in shared.plan.names:
        assert torch.equal(shared.flat.weight(name), shared.plan.cut(name).of(alone.flat.weight(name))), name
    mine = [statistics.median(x[1:]) for x in (*seconds.values(), exchange)]  # the first warms up
    for rank, (each, part, wait) in enumerate(everyone.allgather(mine)):
        if everyone.is_root:
            print(
                f"rank {rank}: all of it {each:.3f} s, shared {part:.3f} s ({each / part:.2f}), exchange {wait:.3f} s"
            )


if __name__ == "__main__":
    main()
