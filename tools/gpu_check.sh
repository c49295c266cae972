#!/usr/bin/env bash
# On a machine with a card: build with CUDA, run every test that needs one, then the benchmarks; a table comes last.
# Usage: tools/gpu_check.sh [--no-build] [--no-tests] [--no-benchmarks] [--memcheck] [--out FOLDER] [SECTION ...]
#   --memcheck  also the smallest cases of every kernel under compute-sanitizer: memcheck is judged; racecheck is printed,
#               for it reports the bulk copy of attention_wgmma_dkdv_kernel, whose completion it does not follow
#   --out       where gpu_check.md (date, versions, card, command, table), figures.json and tests.log go; build/gpu_check
#   SECTION     of benchmarks/cuda_table.py; all when none is named
# Needs nvcc, cmake, ninja, pybind11, torch with CUDA, pytest and hypothesis in the environment of $PYTHON.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
command="tools/gpu_check.sh $*"
python=${PYTHON:-$root/.venv/bin/python}
build=1 tests=1 benchmarks=1 memcheck=0 out=$root/build/gpu_check sections=()
while (($#)); do
  case $1 in
    --no-build) build=0 ;;
    --no-tests) tests=0 ;;
    --no-benchmarks) benchmarks=0 ;;
    --memcheck) memcheck=1 ;;
    --out) out=$2 && shift ;;
    *) sections+=("$1") ;;
  esac
  shift
done
mkdir -p "$out"
cd "$root"
export PYTHONPATH=$root/python${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export CUBLAS_WORKSPACE_CONFIG=:4096:8  # cuBLAS repeats itself only with a fixed workspace
failed=0

((build)) && PYTHON=$python tools/build.sh -DFASTTRAIN_CUDA=ON ${CMAKE_CUDA_ARCHITECTURES:+-DCMAKE_CUDA_ARCHITECTURES=$CMAKE_CUDA_ARCHITECTURES}
"$python" -c 'import torch; from fasttrain.core import backend; assert backend.is_cuda_built() and torch.cuda.is_available()'

if ((memcheck)); then
  for tool in memcheck racecheck; do
    timeout 120 compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" tools/gpu_smoke.py >"$out/$tool.log" 2>&1 \
      || [[ $tool == racecheck ]] || failed=1
    echo "$tool: $(tail -1 "$out/$tool.log")"
  done
fi
if ((tests)); then
  mapfile -t files < <(grep -rlE 'ON_CARD|mark\.gpu' tests --include='test_*.py')  # what others import is not wanted
  "$python" -m pytest -q -m gpu -p no:cacheprovider --durations=15 "${files[@]}" 2>&1 | tee "$out/tests.log" | tail -40 || failed=1
fi
if ((benchmarks)); then
  "$python" benchmarks/cuda_table.py --out "$out/figures.json" "${sections[@]}" 2>&1 | tee "$out/benchmarks.log"
  {
    echo "# GPU figures, $(date +%F)"
    echo
    echo "\`$command\`; $(nvcc --version | grep -o 'release.*'); revision $(git rev-parse --short HEAD 2>/dev/null || cat REVISION 2>/dev/null || echo unknown)."
    echo
    sed -n "/^ {'date'/,\$p" "$out/benchmarks.log"
  } >"$out/gpu_check.md"
fi
((failed)) && echo "gpu_check: FAILED" && exit 1
echo "gpu_check: passed"
