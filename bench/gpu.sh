#!/usr/bin/env bash
# Everything that takes a CUDA device: build, tests, sanitizers, benchmarks; then the tests and
# benchmarks of this machine's processor. No network is used: numpy, ml_dtypes, safetensors, torch,
# pybind11, scikit-build-core, pytest, hypothesis and scipy must be there, and nvcc.
#
#   bench/gpu.sh [FOLDER]    results as JSON and Markdown; bench/results by default
#
# gpu-run.json there says of each part whether it passed, failed, or was not run because something
# is absent, and what; the parts' output is in build/gpu-logs. Each part runs on after another has
# failed; the script fails at the end and says which did. PYTHON names the interpreter, QUICK=1
# measures a few small cases only, and a part is stopped after LIMIT seconds (7200).
set -uo pipefail
out=$(realpath -m "${1:-$(dirname "$0")/results}")
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python3}
"$python" --version || { echo "$python does not run: PYTHON=... names another"; exit 1; }
logs=build/gpu-logs
mkdir -p "$out" "$logs"
: > "$logs/parts.tsv"
quick=()
[[ -z ${QUICK:-} ]] || quick=(--quick)
failed=()

limited() {
  timeout --kill-after=30 "${LIMIT:-7200}" "$@"
}

# part NAME REASON COMMAND...: runs the command, unless there is a reason not to.
part() {
  local name=$1 reason=$2 start=$SECONDS state=passed status
  local log=$logs/${name//[^A-Za-z0-9]/-}.txt
  shift 2
  printf '\n== %s\n' "$name"
  if [[ -n $reason ]]; then
    state=absent
    echo "not run: $reason"
  else
    "$@" 2>&1 | tee "$log"
    status=$?
    if ((status != 0)); then
      state=failed
      reason="exit status $status"
      failed+=("$name")
    fi
    echo "== $name: $state, $((SECONDS - start)) s"
  fi
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$state" "$((SECONDS - start))" \
    "$(tr '\t\n' '  ' <<< "$reason")" "$log" >> "$logs/parts.tsv"
  "$python" bench/gpu_summary.py "$logs/parts.tsv" "$out/gpu-run.json" "$gpu"
}

# Where a tool is: on the path, or in CUDA's folder.
tool() {
  command -v "$1" || command -v "${CUDA_HOME:-/usr/local/cuda}/bin/$1"
}

build() {
  SPARSECORE_CUDA=ON limited "$python" -m pip install --quiet --no-build-isolation --no-deps \
    --upgrade --target build/gpu-site .
}

why_no_device() {
  "$python" - << 'END' 2>&1 | tail -n 1
try:
    import torch
    import sparsecore as sc
except Exception as error:  # whatever an installation can be broken by
    print(f"{type(error).__name__}: {error}")
else:
    print(sc.cuda.reason() or ("" if torch.cuda.is_available() else "this torch has no CUDA"))
END
}

# The package as installed, never the source tree. (torch warns of a package that others installed.)
tests() {
  limited "$python" -m pytest -q -p no:cacheprovider \
    -W "ignore:The pynvml package is deprecated:FutureWarning" "$@"
}

# A small set: each access checked, then races in shared memory. Without torch's cache every tensor
# is memory of its own, beyond which an access is seen.
sanitized() {
  local kind
  for kind in memcheck racecheck; do
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 limited "$sanitizer" --tool "$kind" --error-exitcode 1 \
      --target-processes all "$python" -m pytest -q -p no:cacheprovider \
      -W "ignore:The pynvml package is deprecated:FutureWarning" -m "gpu and small" tests || return 1
  done
}

row_read() {
  "$nvcc" -std=c++17 -O3 -arch=native -Icsrc -Icsrc/cuda/ptx bench/gpu_row_read.cu \
    -o build/gpu_row_read && limited build/gpu_row_read | tee "$out/gpu-row-read.jsonl"
}

measured() {
  local name=$1
  shift
  limited "$python" -m sparsecore.bench "$@" "${quick[@]}" --output "$out/$name.json"
}

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader --id=0 2> /dev/null |
  tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' -) || gpu=unknown
gpu=${gpu:-unknown}
nvcc=$(tool nvcc)
sanitizer=$(tool compute-sanitizer)
# Reasons; empty where there is none.
no_nvcc= no_sanitizer= no_data=
[[ -n $nvcc ]] || no_nvcc="nvcc is neither on PATH nor in CUDA_HOME"
part "build" "$no_nvcc" build
export PYTHONPATH=$PWD/build/gpu-site
no_device=$(why_no_device)
[[ -n $sanitizer ]] || no_sanitizer="compute-sanitizer is neither on PATH nor in CUDA_HOME"
[[ -f ${SPARSECORE_DATA:-.}/dlmc_dev.tar.xz ]] || no_data="SPARSECORE_DATA has no dlmc_dev.tar.xz"
no_package=
"$python" -c "import sparsecore" || no_package="sparsecore was not installed"
part "GPU tests" "$no_device" tests -m gpu tests
part "sanitizers" "${no_device:-$no_sanitizer}" sanitized
part "row reads" "${no_nvcc:-$no_device}" row_read
part "GPU benchmarks" "$no_device" measured "gpu-$gpu" gpu
part "GPU benchmarks, DLMC" "${no_device:-$no_data}" \
  measured "gpu-dlmc-$gpu" gpu --dlmc 2 --dtype float32 --columns 32 128
part "CPU tests" "$no_package" tests -m "not gpu" --target-dependent tests
part "CPU benchmarks" "$no_package" measured "spmm-$gpu-host" spmm --shape 1024x1024 4096x1024
if ((${#failed[@]} > 0)); then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
