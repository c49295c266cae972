"""Every collective of comm.Group against what numpy says, on the world and on split groups."""

import numpy as np
import pytest

from fasttrain.comm.group import world
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.errors import CommError


def check(group, dtype):
    def of(rank):
        return (np.arange(12).reshape(3, 4) % 5 + rank * 3).astype(dtype)

    ranks = range(group.size)
    for op, expected in (("sum", sum(of(r) for r in ranks)), ("max", of(group.size - 1)), ("min", of(0))):
        now, later = of(group.rank), of(group.rank)
        group.allreduce_(now, op)
        pending = group.iallreduce_(later, op)
        while not pending.test():
            pass
        pending.wait()
        np.testing.assert_array_equal(now, expected)
        np.testing.assert_array_equal(later, expected)
    np.testing.assert_array_equal(group.allgather_array(of(group.rank)), np.stack([of(r) for r in ranks]))
    for root in ranks:
        array = of(group.rank)
        group.bcast_(array, root)
        np.testing.assert_array_equal(array, of(root))
        assert group.bcast({"from": group.rank}, root) == {"from": root}
    assert group.allgather(f"rank {group.rank}") == [f"rank {r}" for r in ranks]
    assert group.reduce(group.rank + 0.5, "max") == group.size - 0.5
    if group.size > 1:  # a ring: everyone sends before anyone receives, two tags out of order
        after, before = (group.rank + 1) % group.size, (group.rank - 1) % group.size
        sends = [group.isend(of(group.rank + tag), after, tag) for tag in (7, 8)]
        for tag in (8, 7):
            got = np.empty((3, 4), dtype)
            group.recv_(got, before, tag)
            np.testing.assert_array_equal(got, of(before + tag))
        for send in sends:
            send.wait()
    group.agree([1, "same"], "check")
    if group.size > 1:
        with pytest.raises(CommError, match="ranks must agree"):
            group.agree(group.rank, "check")
    group.allreduce_(np.empty(0, dtype))
    group.barrier()


def check_same_bits(group):
    """Sums of floats that do not commute with rounding: same bits on every rank and every time."""
    values = np.random.default_rng(group.rank).standard_normal(100_003).astype(np.float32)
    first = values.copy()
    group.allreduce_(first)
    for _ in range(3):
        again = values.copy()
        group.allreduce_(again)
        np.testing.assert_array_equal(again, first)
    for other in group.allgather(first.tobytes()):
        assert other == first.tobytes()


def check_mesh(group):
    for layout in (LayoutConfig(tp=2), LayoutConfig(pp=2), LayoutConfig(dp=1, tp=group.size), LayoutConfig()):
        mesh = build_mesh(group, layout)
        here = (mesh.pp.rank * mesh.dp.size + mesh.dp.rank) * mesh.tp.size + mesh.tp.rank
        assert here == group.rank, "world rank = (pp, dp, tp) in row-major order"
        assert mesh.dp.size * mesh.tp.size * mesh.pp.size == group.size
        assert mesh.is_first_stage == (mesh.pp.rank == 0)
        assert mesh.is_last_stage == (mesh.pp.rank == mesh.pp.size - 1)


everyone = world()
for dtype in (np.float32, np.float64, np.int64, np.int32):
    check(everyone, dtype)
check_same_bits(everyone)
half = everyone.split(everyone.rank % 2, -everyone.rank)
assert half.size == everyone.size // 2
assert half.rank == (everyone.size - 1 - everyone.rank) // 2, "split orders by key"
check(half, np.float64)
alone = everyone.split(everyone.rank, 0)
assert (alone.rank, alone.size) == (0, 1)
check(alone, np.float32)
check_mesh(everyone)
