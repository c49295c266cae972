#!/usr/bin/env bash
# Build the native module in place (python/fasttrain/_native*.so) for work on the C++ code: incremental, with ninja.
# Usage: tools/build.sh [cmake options]    e.g. tools/build.sh -DFASTTRAIN_CUDA=OFF
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
bin=$(dirname "$python")
cache=()
command -v ccache >/dev/null && cache=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
PATH="$bin:$PATH" cmake -S "$root" -B "$root/build/dev" -G Ninja -DPython_EXECUTABLE="$python" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" "${cache[@]}" "$@" >"$root/build.log" 2>&1 \
  || { cat "$root/build.log"; exit 1; }
rm -f "$root/build.log"
PATH="$bin:$PATH" cmake --build "$root/build/dev"
# By rename: a process that has the old one mapped keeps it, instead of crashing.
for module in "$root"/build/dev/_native*.so; do
  cp "$module" "$root/python/fasttrain/$(basename "$module").new"
  mv "$root/python/fasttrain/$(basename "$module").new" "$root/python/fasttrain/$(basename "$module")"
done
