#!/usr/bin/env bash
# Write the type stubs of the native module (python/fasttrain/_native.pyi) from the built module. Run after a change in
# csrc/bind/; tests/house compares.   Usage: tools/gen_stubs.sh [FILE]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
out=${1:-$root/python/fasttrain/_native.pyi}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pybind11_stubgen fasttrain._native -o "$folder" >/dev/null 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
config=(--config "$root/pyproject.toml")
"$python" -m ruff check "${config[@]}" --fix --exit-zero --quiet "$folder/fasttrain/_native.pyi" >/dev/null
"$python" -m ruff format "${config[@]}" --quiet "$folder/fasttrain/_native.pyi"
cp "$folder/fasttrain/_native.pyi" "$out"
