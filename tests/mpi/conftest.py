"""Runs a job of tests/mpi/jobs on n ranks of this machine; its asserts are the test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fasttrain
from fasttrain.comm.launch import mpirun

JOBS = Path(__file__).parent / "jobs"
NOT_BEGUN = "PMIx server's listener thread failed to start"  # mpirun's own, now and then on a busy machine: no rank ran


@pytest.fixture
def run_job():
    """run_job(num_ranks, "collectives", *args) -> CompletedProcess; fails the test with the ranks' output."""

    def run(num_ranks, job, *args, timeout=110, status=0):
        prefix, env = mpirun(num_ranks)
        package = Path(fasttrain.__file__).parents[1]
        # fasttrain, and the made_*.py of other rooms
        env["PYTHONPATH"] = os.pathsep.join([str(package), str(JOBS.parents[1])])
        env["OMP_NUM_THREADS"] = "1"  # tiny shapes: threads would only wait for each other
        command = [*prefix, sys.executable, str(JOBS / f"{job}.py"), *map(str, args)]
        for _ in range(3):
            with subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                try:
                    out, err = process.communicate(timeout=timeout)
                except subprocess.TimeoutExpired:
                    process.terminate()  # mpirun takes its ranks with it; killed, it would leave them behind
                    text = "\n".join(process.communicate(timeout=30))[-6000:]
                    pytest.fail(f"{job} on {num_ranks} ranks: not finished after {timeout} s\n{text}", pytrace=False)
            if NOT_BEGUN not in err:
                break
        if process.returncode != status:
            text = f"{out}\n{err}"[-6000:]
            came = f"status {process.returncode}, not {status}"
            pytest.fail(f"{job} on {num_ranks} ranks: {came}\n{text}", pytrace=False)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run
