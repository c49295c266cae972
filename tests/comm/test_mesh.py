import pytest

from fasttrain.comm import group
from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.errors import CommError, ConfigError


@pytest.mark.parametrize(
    ("layout", "ranks", "dp"),
    [({}, 1, 1), ({}, 4, 4), ({"tp": 2}, 4, 2), ({"tp": 2, "pp": 2}, 8, 2), ({"dp": 2, "tp": 2}, 4, 2)],
)
def test_dp_takes_the_rest(layout, ranks, dp):
    assert LayoutConfig.load(layout).resolve(ranks).dp == dp


@pytest.mark.parametrize(
    ("layout", "ranks", "words"),
    [
        ({"tp": 3}, 4, r"must be the number of ranks, got dp=rest tp=3 pp=1 on 4; start a multiple of 3 ranks"),
        ({"dp": 2, "tp": 2}, 2, "got dp=2 tp=2 pp=1 on 2; start 4 ranks or change layout"),
        ({"pp": 2}, 1, "start a multiple of 2 ranks"),
    ],
)
def test_a_layout_that_does_not_divide_is_refused(layout, ranks, words):
    with pytest.raises(ConfigError, match=words):
        LayoutConfig.load(layout).resolve(ranks)


def test_one_rank_is_first_and_last_stage():
    mesh = build_mesh(SoloGroup(), LayoutConfig())
    assert mesh.is_first_stage
    assert mesh.is_last_stage
    assert mesh.dp.size == mesh.tp.size == mesh.pp.size == 1


def test_without_a_launcher_no_mpi_starts(monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert group.launched_size() == 1
    monkeypatch.setenv("PMI_SIZE", "4")
    assert group.launched_size() == 4


def test_a_group_of_one_has_no_neighbours():
    import numpy as np

    solo = SoloGroup()
    with pytest.raises(CommError, match="rank 1 is not in a group of one"):
        solo.isend(np.zeros(1), 1)
    with pytest.raises(CommError, match="rank 1 is not in a group of one"):
        solo.recv_(np.zeros(1), 1)
    assert solo.allgather(3) == [3]
    assert solo.reduce(2.5) == 2.5
