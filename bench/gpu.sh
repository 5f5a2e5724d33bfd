#!/usr/bin/env bash
# Everything that takes a CUDA device: build, tests, sanitizers, benchmarks; then the tests and
# benchmarks of this machine's processor. No network is used: numpy, ml_dtypes, safetensors, torch,
# pybind11, scikit-build-core, pytest, hypothesis and scipy must be there, and nvcc.
#
#   bench/gpu.sh [FOLDER]    results as JSON and Markdown; bench/results by default
#
# QUICK=1 measures a few small cases only. Each part runs on after another has failed; the script
# fails at the end and says which did.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-bench/results}")
mkdir -p "$out" build
python=${PYTHON:-python3}
quick=()
[[ -z ${QUICK:-} ]] || quick=(--quick)
failed=()

part() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then printf '== %s: %d s\n' "$name" "$((SECONDS - start))"; else failed+=("$name"); fi
}

build() {
  SPARSECORE_CUDA=ON "$python" -m pip install --quiet --no-build-isolation --no-deps .
}

# The package as installed, never the source tree: from another folder.
tests() {
  "$python" -m pytest -q -p no:cacheprovider "$@"
}

# A small set: each access checked, then races in shared memory.
sanitized() {
  local tool
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all \
      "$python" -m pytest -q -p no:cacheprovider -m "gpu and small" tests || return 1
  done
}

row_read() {
  nvcc -std=c++17 -O3 -arch=native -Icsrc -Icsrc/cuda/ptx bench/gpu_row_read.cu -o build/gpu_row_read &&
    build/gpu_row_read | tee "$out/gpu-row-read.jsonl"
}

measured() {
  local name=$1
  shift
  "$python" -m sparsecore.bench "$@" "${quick[@]}" --output "$out/$name.json"
}

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader --id=0 | tr ' [:upper:]' '-[:lower:]')
part "build" build
part "GPU tests" tests -m gpu tests
part "sanitizers" sanitized
part "row reads" row_read
part "GPU benchmarks" measured "gpu-$gpu" gpu
part "GPU benchmarks, DLMC" measured "gpu-dlmc-$gpu" gpu --dlmc 2 --dtype float32 --columns 32 128
part "CPU tests" tests -m "not gpu" --target-dependent tests
part "CPU benchmarks" measured "spmm-$gpu-host" spmm --shape 1024x1024 4096x1024
if ((${#failed[@]} > 0)); then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
