"""How many threads a rank computes with: what the launcher or the user set, else its share of the host's cores."""

import os

# Ranks on this host, as launchers announce them: Open MPI, MPICH and Intel MPI, Slurm's srun.
_LOCAL_SIZE_VARIABLES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE")


def threads_of_rank() -> int:
    """FASTTRAIN_THREADS or OMP_NUM_THREADS, else the cores this process may use over the ranks of its host."""
    for name in ("FASTTRAIN_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in _LOCAL_SIZE_VARIABLES:
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return max(1, cores // int(text))
    return cores
