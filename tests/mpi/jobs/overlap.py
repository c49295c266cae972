"""Gradients summed during backward have the bits of gradients summed after it, whatever the bucket size."""

import torch

from fasttrain.comm.group import world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from parallel.made_mesh import SMALL, cut, rows

everyone = world()
mine = cut(rows(everyone.rank, [16, 3, 9]), [2, 1])
found = []
for overlap in (True, False):
    for bucket_bytes in (1, 5000, 1 << 20):
        mesh = build_mesh(everyone, LayoutConfig())
        engine = Engine(SMALL, mesh, OptimConfig(), seed=1, num_sources=2, overlap=overlap, bucket_bytes=bucket_bytes)
        for step in range(2):
            engine.forward_backward(mine, step=step)
        assert engine.spans.take()["comm"] > 0.0
        found.append(engine.flat.grads())
for other in found[1:]:
    assert torch.equal(found[0], other)
assert found[0].any()
for theirs in everyone.allgather(found[0].numpy()):
    assert torch.equal(found[0], torch.from_numpy(theirs)), "replicas hold the same bits"
