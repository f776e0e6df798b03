#!/usr/bin/env bash
# Checks and times the CUDA ops on a machine with a GPU, in under 10 minutes: builds for that GPU, runs the tests, runs
# them under compute-sanitizer, times the ops. Leaves gpu_check.json and gpu_check.md in output/benchmarks/gpu_check.
#   benchmarks/gpu_check.sh [folder for the results]
# Needs nvcc, nvidia-smi and compute-sanitizer (CUDA toolkit), and what the C++ tests need. PYTHON: the interpreter (python3).
set -u
cd "$(dirname "$0")/.." || exit 1
out=$(realpath -m "${1:-output/benchmarks/gpu_check}")
python=${PYTHON:-python3}
build=build/gpu_check
mkdir -p "$out"
rm -f "$out"/*.log "$out"/bench.json "$out"/gpu_check.* "$out"/steps.txt

fail() {
  echo "gpu_check: $1" >&2
  exit 1
}
command -v nvidia-smi >/dev/null || fail "nvidia-smi is not there: this needs a machine with an NVIDIA driver"
command -v nvcc >/dev/null || fail "nvcc is not there: install the CUDA toolkit, or put its bin folder on PATH"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
[[ $arch =~ ^[0-9]+$ ]] || fail "nvidia-smi names no GPU"

# step NAME SECONDS COMMAND…: runs the command with that limit, and writes down how it went.
step() {
  local name=$1 limit=$2 begin status
  shift 2
  begin=$(date +%s.%N)
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" "$(echo "$(date +%s.%N) $begin" | awk '{print $1 - $2}')" >>"$out/steps.txt"
  echo "$name: exit status $status"
  return "$status"
}

configure() {
  cmake --preset cuda -B "$build" "-DCMAKE_CUDA_ARCHITECTURES=$arch" "-DPython_EXECUTABLE=$(command -v "$python")"
}
sanitize() {  # reads of memory that was never written show only where it is new
  INSTSEG_TEST_FRESH_WORKSPACE=1 compute-sanitizer --error-exitcode 9 "$@" "$build/bin/instseg_cuda_tests" \
    --gtest_filter=-CudaDetections.LongListsAreSortedWhole
}
bench() {
  "$build/bin/instseg_cuda_bench" 0.3 >"$out/bench.json"
}
export -f configure sanitize bench
export build arch python out
INSTSEG_CUDA_LIBRARY=$(realpath -m "$build/lib/instseg/plugins/libinstseg_cuda.so")
export INSTSEG_CUDA_LIBRARY

if step configure 60 bash -c configure &&
  step build 240 cmake --build "$build" --parallel --target instseg_cuda instseg_cuda_tests instseg_cuda_bench; then
  step tests 60 "$build/bin/instseg_cuda_tests"
  step bench 60 bash -c bench
  if command -v compute-sanitizer >/dev/null; then
    step sanitizer_memcheck 60 bash -c 'sanitize --tool memcheck'
    step sanitizer_racecheck 60 bash -c 'sanitize --tool racecheck'
    step sanitizer_initcheck 60 bash -c 'sanitize --tool initcheck'
  else
    printf 'sanitizer\t127\t0\n' >>"$out/steps.txt"
    echo "compute-sanitizer is not there" | tee "$out/sanitizer.log"
  fi
fi
exec "$python" benchmarks/cuda_report.py "$out"
