"""What a rank waits for a later one is told apart from what moving bytes takes, whatever they do together."""

import time

import numpy as np
import torch

from fasttrain.comm.group import world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.monitor.spans import Spans
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.timed import TimedGroup, timed, timed_mesh
from fasttrain.parallel.wire import Wire
from parallel.made_mesh import SMALL, rows

LATE = 0.3  # seconds that rank 1 comes late: many times what anything else here takes, and what may disturb it
EVERYONE = world()
SPANS = Spans()
GROUP = timed(EVERYONE, SPANS)
WIRE = Wire(GROUP, SPANS)
NUMBERS = np.ones(1000, np.float32)


def message(x):
    """From the last rank to the first."""
    if EVERYONE.rank:
        WIRE.isend(x, 0, 3).wait()
        return None
    return WIRE.recv(x, EVERYONE.size - 1, 3)


def in_the_background():
    x = torch.ones(1000)
    pending = WIRE.start_all_reduce_(x)
    WIRE.meet()
    pending.wait()
    return x.tolist()


CALLS = {
    "barrier": GROUP.barrier,
    "bcast": lambda: GROUP.bcast(EVERYONE.rank + 5, 1),
    "allgather": lambda: GROUP.allgather(EVERYONE.rank),
    "allreduce_": lambda: GROUP.allreduce_(NUMBERS.copy()),
    "reduce": lambda: GROUP.reduce(EVERYONE.rank, "max"),
    "bcast_": lambda: GROUP.bcast_(NUMBERS.copy(), 1),
    "allgather_array": lambda: GROUP.allgather_array(NUMBERS).tolist(),
    "all_reduce_": lambda: WIRE.all_reduce_(torch.ones(7, dtype=torch.bfloat16)).tolist(),
    "in the background": in_the_background,
    "message": lambda: message(torch.ones(100_000)),
}
EXPECTED = {
    "bcast": 6,
    "allgather": [0, 1],
    "reduce": 1.0,
    "allgather_array": [[1.0] * 1000] * 2,
    "all_reduce_": [2.0] * 7,
    "in the background": [2.0] * 1000,
}


def check_calls():
    for name, call in CALLS.items():
        EVERYONE.barrier()
        SPANS.take()
        if EVERYONE.rank:
            time.sleep(LATE)
        start = time.perf_counter()
        result = call()
        took, seconds = time.perf_counter() - start, SPANS.take()
        if name in EXPECTED:
            assert result == EXPECTED[name], name
        waited, moved = seconds.get("comm_wait", 0.0), seconds.get("comm", 0.0)
        assert waited + moved <= took, name
        if EVERYONE.rank:
            assert waited < LATE / 2, f"{name}: the late rank waited {waited} s"
        else:
            assert waited >= 0.9 * LATE, f"{name}: waited {waited} s, moved {moved} s"
            assert moved < LATE / 2, f"{name}: waiting counts as moving, {moved} s"


def check_a_step(**layout):
    """One rank is slow in its batch: the other one's step tells so."""
    engine = Engine(
        SMALL, build_mesh(EVERYONE, LayoutConfig(**layout)), OptimConfig(name="muon"), seed=1, num_sources=2
    )
    batch = [rows(EVERYONE.rank if "tp" not in layout else 0, [16, 3])]
    engine.forward_backward(batch, step=0)  # torch loads what it loads
    EVERYONE.barrier()
    engine.spans.take()
    if EVERYONE.rank:
        time.sleep(LATE)
    engine.forward_backward(batch, step=1)
    engine.update(lr=1e-3, grad_norm=engine.grad_norm())
    seconds = engine.spans.take()
    assert seconds["comm"] > 0
    if EVERYONE.rank:
        assert seconds["comm_wait"] < LATE / 2, seconds
    else:
        assert seconds["comm_wait"] >= 0.9 * LATE, seconds
        assert seconds["comm"] < LATE / 2, seconds


check_calls()
check_a_step(dp=2)
check_a_step(tp=2)
mesh = timed_mesh(build_mesh(EVERYONE, LayoutConfig(dp=2)), SPANS)
assert isinstance(mesh.dp, TimedGroup)
assert not isinstance(mesh.tp, TimedGroup), "a group of one never waits"
assert timed(mesh.dp, Spans()) is mesh.dp, "nothing is timed twice"
halves = GROUP.split(0, EVERYONE.rank)
assert isinstance(halves, TimedGroup)
