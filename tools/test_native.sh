#!/usr/bin/env bash
# The native tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer: the C++ ones (tests/native/, random
# bytes from buffers of exact size), then the ops' own (tests/*/test_<op>.py). Every implementation that this CPU runs
# reads and writes only what it was given. Needs GCC or Clang with their runtimes. --build: only the build.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/setup.sh
source "$root/tools/setup.sh"
build=$root/build/sanitize
cxx=${CXX:-c++}
mkdir -p "$root/build"
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DFASTTRAIN_SANITIZE=ON -DFASTTRAIN_CUDA=OFF \
  -DFASTTRAIN_NATIVE_TESTS=ON \
  -DPython_EXECUTABLE="$(command -v python)" -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" >"$build.log" 2>&1 ||
  { cat "$build.log" >&2; exit 1; }
cmake --build "$build" >>"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; exit 1; }
[ "${1:-}" = --build ] && exit
# Two at a time at most, who share out the cores, as in tools/test.sh.
cores=$(python -c 'from fasttrain.core import backend; print(backend.num_threads())')
workers=$((cores < 2 ? 1 : 2))
OMP_NUM_THREADS=2 ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 120 --parallel "$workers" -Q \
  --output-log "$build.ctest.log" || { cat "$build.ctest.log" >&2; exit 1; }
# A package folder of links: the sources with the sanitized module beside them.
package=$build/package/fasttrain
rm -rf "$build/package"
mkdir -p "$package"
for entry in "$root"/python/fasttrain/*; do
  case $entry in *.so) ;; *) ln -s "$entry" "$package/" ;; esac
done
cp "$build"/_native*.so "$package/"
tests=()
for header in "$root"/csrc/*/*.h; do
  room=$(basename "$(dirname "$header")") op=$(basename "$header" .h)
  [ -f "$root/tests/$room/test_$op.py" ] && tests+=("tests/$room/test_$op.py")
done
cd "$root"
# libstdc++ before torch's copy of it: ASan looks up __cxa_throw when it starts.
preload=$("$cxx" -print-file-name=libasan.so):$("$cxx" -print-file-name=libstdc++.so)
# -S: no site customisation and no editable finder, so that the sanitized module is the one that loads.
sanitized() {
  env LD_PRELOAD="$preload" ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
    OMP_NUM_THREADS=$((cores / workers)) OMP_WAIT_POLICY=passive FASTTRAIN_ARENA=0 \
    PYTHONPATH="$build/package:$(python -c 'import site; print(site.getsitepackages()[0])')" PYTHONMALLOC=malloc \
    python -S "$@"
}
export FASTTRAIN_EXPECT_NATIVE=$build # tests/conftest.py: fail where another module is loaded
# Workers are told -S as well (--tx): without it they would find the installed module.
sanitized -m pytest -q -p no:cacheprovider -p no:benchmark -m "not slow" --dist loadfile \
  --tx "$workers*popen//python=$(command -v python) -S" "${tests[@]}"
