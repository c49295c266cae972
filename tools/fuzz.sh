#!/usr/bin/env bash
# Fuzz the native ops and parsers (tests/fuzz/fuzz_<op>.cpp) with libFuzzer, ASan and UBSan, then the readers with mutated
# files of the demo lake (tests/fuzz/fuzz_readers.py). Needs clang >= 14 with its runtimes (CXX names another one).
# Usage: tools/fuzz.sh [SECONDS] [TARGET...]      e.g. tools/fuzz.sh 600 pii text_stats readers
#        tools/fuzz.sh --keep [TARGET...]         choose small inputs of what was found for tests/fuzz/corpus
# Inputs grow in build/fuzz/corpus/<op>; one that crashes is copied to tests/fuzz/corpus/<op>/crash-*, and stays there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
build=$root/build/fuzz
keep=false seconds=60
if [ "${1:-}" = "--keep" ]; then
  keep=true
  shift
elif [[ "${1:-}" =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
cxx=${CXX:-}
if [ -z "$cxx" ]; then
  for candidate in clang++ clang++-{21,20,19,18,17,16,15,14}; do
    if command -v "$candidate" >/dev/null && [ "$("$candidate" -dumpversion | cut -d. -f1)" -ge 14 ]; then
      cxx=$candidate
      break
    fi
  done
fi
[ -n "$cxx" ] || { echo "fuzz: needs clang++ >= 14 for libFuzzer, found none; install clang or set CXX" >&2; exit 2; }
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in "$root"/tests/fuzz/fuzz_*.cpp; do
    source=$(basename "$source" .cpp)
    targets+=("${source#fuzz_}")
  done
  $keep || targets+=(readers)
fi
native=()
for target in "${targets[@]}"; do
  [ "$target" = readers ] || native+=("$target")
  [ "$target" = readers ] || [ -f "$root/tests/fuzz/fuzz_$target.cpp" ] ||
    { echo "fuzz: no target $target; tests/fuzz/fuzz_$target.cpp does not exist" >&2; exit 2; }
done
mkdir -p "$build"
if [ ${#native[@]} -gt 0 ]; then
  launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  PATH="$(dirname "$python"):$PATH"
  cmake -S "$root" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DFASTTRAIN_FUZZ=ON -DFASTTRAIN_CUDA=OFF \
    -DFASTTRAIN_PYTHON=OFF "${launcher[@]}" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
  cmake --build "$build" --target "${native[@]/#/fuzz_}" >>"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; exit 1; }
fi
failed=0
for target in "${targets[@]}"; do
  if [ "$target" = readers ]; then
    "$python" "$root/tests/fuzz/fuzz_readers.py" "$seconds" || failed=1
    continue
  fi
  kept=$root/tests/fuzz/corpus/$target grown=$build/corpus/$target log=$build/$target.log
  mkdir -p "$kept" "$grown"
  if $keep; then
    # Small inputs that together reach what all of them reach; crashes stay.
    chosen=$(mktemp -d)
    "$build/fuzz_$target" -merge=1 -max_len=160 "$chosen" "$kept" "$grown" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
    "$python" "$root/tests/fuzz/keep.py" "$chosen" "$kept"
    rm -rf "$chosen"
    continue
  fi
  if "$build/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=2048 -print_final_stats=1 \
    -artifact_prefix="$kept/" "$grown" "$kept" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    echo "fuzz: $target ${seconds} s, $runs executions, no finding, $(find "$grown" -type f | wc -l) inputs"
  else
    failed=1
    grep -m 5 -e 'ERROR' -e 'runtime error' -e '^/.*: ' -e 'Test unit written' "$log" >&2 || tail -n 20 "$log" >&2
    echo "fuzz: $target FOUND something; the log is $log" >&2
  fi
done
exit $failed
