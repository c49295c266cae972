#!/usr/bin/env bash
# From nothing to a model and a report: set up, then the demo journey on MPI ranks over the lake that ships in the package.
# Usage: tools/quickstart.sh [--ranks N] [fasttrain run options]     e.g. tools/quickstart.sh --fresh
# The run folder is runs/demo; an interrupted run goes on where it was.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/setup.sh
source "$root/tools/setup.sh"
cd "$root"
ranks=2
if [ "${1:-}" = "--ranks" ]; then
  ranks=$2
  shift 2
fi
cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores / ranks > 0 ? cores / ranks : 1))}
# One-copy transfers need ptrace rights that containers withhold; more ranks than cores is allowed, and then they yield.
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,sm,tcp OMPI_MCA_osc=^ucx OMPI_MCA_btl_sm_use_cma=0 OMPI_MCA_btl_vader_single_copy_mechanism=none
exec mpirun --bind-to none --oversubscribe -n "$ranks" python -m fasttrain run --out runs/demo "$@"
