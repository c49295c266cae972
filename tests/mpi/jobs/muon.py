"""Muon shared over 1, 2 and 4 ranks: given equal gradients, the bits of one process, also after a change of layout.

Run as `muon.py PRECISION...` on four ranks.
"""

import sys

import numpy as np
import torch

from fasttrain.comm.group import SoloGroup, world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon_work import is_muons
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.wire import Wire
from parallel.made_mesh import SMALL

STOPS = [5, 20, 25, 40]
LONG = [(1, 2, 1), (2, 2, 1)]  # 20 steps from the start and 20 from another layout's state; the others 5 and 5
OPTIM = OptimConfig(name="muon", lr=1e-2, momentum=0.9)
CONFIG = SMALL.model_copy(update={"num_kv_heads": 4, "qk_norm": True})  # hidden, 30, does not divide by 4
LAYOUTS = {2: [(2, 1, 1), (1, 2, 1)], 4: [(4, 1, 1), (1, 4, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2)]}


def make(group, layout, precision):
    mesh = build_mesh(group, LayoutConfig(dp=layout[0], tp=layout[1], pp=layout[2]))
    return Engine(CONFIG, mesh, OPTIM, seed=3, precision=precision)


def train(engine, steps):
    for step in steps:
        for i, (name, shape) in enumerate(engine.plan.shapes.items()):
            draw = np.random.default_rng((i, step)).standard_normal(shape, np.float32)  # the same on every rank
            if name in engine.plan.names:
                engine.flat.grad(name).copy_(engine.plan.cut(name).of(torch.from_numpy(draw)))
        engine.update(lr=1e-2 / (1 + step), grad_norm=2.0)
        assert not engine.flat.grads().any(), "used up"


def whole(group, engine):
    shares = group.allgather({name: tensor.clone() for name, tensor in engine.gather()})
    return {name: tensor for share in shares for name, tensor in share.items()}


def assert_equal(where, tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype, name
        assert torch.equal(tensor, expected[name]), f"{where}: {name} is not that of one process"


def states(precision):
    """What one process holds after so many steps, by STOPS."""
    alone, found, done = make(SoloGroup(), (1, 1, 1), precision), {}, 0
    for stop in STOPS:
        train(alone, range(done, stop))
        found[stop], done = whole(SoloGroup(), alone), stop
    return found


def check_layout(group, layout, precision, expected):
    """Begin in this layout, and go on in it from one process's state: {steps done: state of one process}."""
    where = f"{precision} dp={layout[0]} tp={layout[1]} pp={layout[2]}"
    begun, end = (STOPS[1], STOPS[3]) if layout in LONG else (STOPS[0], STOPS[2])
    loaded = STOPS[1]
    engine = make(group, layout, precision)
    train(engine, range(begun))
    assert_equal(where, whole(group, engine), expected[begun])
    engine.load(expected[loaded], optimizer_steps=loaded)
    train(engine, range(loaded, end))
    assert_equal(where, whole(group, engine), expected[end])
    if group.is_root:
        print(where, "has the bits of one process", flush=True)


def check_bytes(group, layout, precision):
    """What all ranks send: slices to owners of their replica, each update to every other rank, nothing twice."""
    sent, isend = [], Wire.isend

    def counted(self, x, dst, tag):
        if self.group is engine.mesh.stage:
            sent.append(x.numel() * x.element_size())
        return isend(self, x, dst, tag)

    engine = make(group, layout, precision)
    Wire.isend = counted
    train(engine, range(1))
    Wire.isend = isend
    dp, tp, _ = layout
    size = 4 if precision == "fp32" else 2
    values = sum(int(np.prod(shape)) for name, shape in CONFIG_SHAPES.items() if is_muons(OPTIM, name, shape))
    expected = values * ((tp - 1) / tp * 4 + (dp - 1 / tp) * size)  # all but its owner's slice; all slices but that
    by_rank = group.allgather(sum(sent))
    assert abs(sum(by_rank) - expected) <= 0.02 * expected, (by_rank, expected)  # slices differ by a row or column
    assert max(by_rank) <= 1.5 * min(by_rank), "the work is spread"


def main():
    everyone = world()
    pair = everyone.split(everyone.rank // 2, everyone.rank)
    torch.set_num_threads(1)
    for precision in sys.argv[1:]:
        expected = everyone.bcast(states(precision) if everyone.is_root else None)
        moved = (
            expected[STOPS[3]]["blocks.1.attn.wo.weight"].float()
            - expected[STOPS[1]]["blocks.1.attn.wo.weight"].float()
        )
        assert moved.abs().max() > 1e-4, "there must be something to get wrong"
        for group, layout in [(pair, LAYOUTS[2][everyone.rank // 2])] + [(everyone, one) for one in LAYOUTS[4]]:
            check_layout(group, layout, precision, expected)
        for layout in LAYOUTS[4][:3]:
            check_bytes(everyone, layout, precision)


CONFIG_SHAPES = make(SoloGroup(), (1, 1, 1), "fp32").plan.shapes

if __name__ == "__main__":
    main()
