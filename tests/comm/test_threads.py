import os

import pytest

from fasttrain.comm.threads import threads_of_rank

NAMES = (
    "FASTTRAIN_THREADS",
    "OMP_NUM_THREADS",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_NTASKS_PER_NODE",
)


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 3),
        ({"FASTTRAIN_THREADS": "5", "OMP_NUM_THREADS": "3"}, 5),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 4),
        ({"MPI_LOCALNRANKS": "16"}, 1),
        ({"SLURM_NTASKS_PER_NODE": "4(x2)"}, 8),
        ({"OMP_NUM_THREADS": "0"}, 8),
    ],
)
def test_threads(monkeypatch, environment, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert threads_of_rank() == threads
