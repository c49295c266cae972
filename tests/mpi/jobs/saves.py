"""Checkpoints written by threads of every rank while the main threads go on with collectives."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import Saver
from fasttrain.comm.group import world
from fasttrain.core.errors import FormatError

group, folder = world(), Path(sys.argv[1])
saver = Saver(folder, CheckpointConfig(keep=2), group)
for step in range(1, 5):
    mine = {f"r{group.rank}.{i}": torch.full((64, 64), float(step)) for i in range(4)}
    saver.save(step, mine, {"step": step})
    for _ in range(20):  # the training's collectives, in the meantime
        total = np.ones(8)
        group.allreduce_(total)
        assert total[0] == group.size
    saver.record(step, [3.0, 1.0, 2.0, 2.5][step - 1])
saver.wait()
group.barrier()
assert store.steps(folder) == [2, 3, 4]
assert store.best(folder) == store.path_of(folder, 2)
found = store.load(store.newest(folder))
assert found.meta == {"step": 4}
assert sorted(found.tensors) == sorted(f"r{r}.{i}" for r in range(group.size) for i in range(4))
assert all((t == 4).all() for t in found.tensors.values())

group.barrier()  # all have read it; now rank 1 fails, and every rank hears of it
tensors = [("w", torch.ones(1))] * (2 if group.rank == 1 else 0)
saver.save(5, tensors, {})
with pytest.raises((FormatError, ValueError), match="w came twice"):
    saver.wait()
assert store.steps(folder) == [2, 3, 4]
