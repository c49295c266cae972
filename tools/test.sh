#!/usr/bin/env bash
# The tests: set up, then style, types, the native ops under sanitizers, and pytest. What is longer is marked slow:
# `tools/test.sh -m slow`. Arguments go to pytest; with arguments only pytest runs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/setup.sh
source "$root/tools/setup.sh"
cd "$root"
if [ $# -gt 0 ]; then
  exec python -m pytest "$@"
fi
start=$SECONDS
ruff format --check --quiet .
ruff check --quiet .
mypy & # takes one core: the build is made beside it
types=$!
tools/test_native.sh --build
wait "$types"
codespell README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md python csrc tools # tests hold mistakes on purpose
# Two at a time at most: the tests that start ranks bring processes of their own. A file stays on one worker, and so do
# the runs that its tests share. They share out the cores: threads that have none keep the others waiting.
cores=$(python -c 'from fasttrain.core import backend; print(backend.num_threads())')
workers=$((cores < 2 ? 1 : 2))
OMP_NUM_THREADS=$((cores / workers)) OMP_WAIT_POLICY=passive python -m pytest -q -p no:benchmark -n "$workers" --dist loadfile --no-loadscope-reorder -m "not slow" tests
tools/test_native.sh
echo "fasttrain: all tests passed in $((SECONDS - start)) s"
