#!/bin/sh
# Compiles and links the TensorRT plug-in against the headers (and, where it is there, the library) in TENSORRT_ROOT,
# and looks at what came out. Needs no GPU and runs nothing on one.
#
#   tools/check_tensorrt_plugin.sh [TENSORRT_ROOT] [BUILD_FOLDER]
#
# TENSORRT_ROOT: folder with include/NvInferRuntime.h, of TensorRT or TensorRT-RTX.
# Exit code 0: good, or skipped with a reason (no headers, no CUDA toolkit); 1: broken.
set -eu

root=${1:-${TENSORRT_ROOT:-}}
source=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "$root" ] || [ ! -f "$root/include/NvInferRuntime.h" ]; then
  echo "skipped: no TensorRT headers in '$root' (give the folder that holds include/NvInferRuntime.h)"
  exit 0
fi
build=${2:-$(mktemp -d)}
[ $# -ge 2 ] || trap 'rm -rf "$build"' EXIT

configured=$(cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DINSTSEG_WARNINGS_AS_ERRORS=ON \
  -DINSTSEG_BUILD_OPENVINO=OFF -DINSTSEG_BUILD_TOOLS=OFF -DTENSORRT_ROOT="$root" 2>&1) || {
  echo "$configured"
  exit 1
}
echo "$configured" | grep 'instseg:.*[Tt]ensor[Rr][Tt]' || true
name=$(echo "$configured" | sed -n 's/.*instseg: backend \(tensorrt[a-z_]*\) for version.*/\1/p')
if [ -z "$name" ]; then
  echo "$configured" | grep -q 'no CUDA toolkit found' && echo "skipped: no CUDA toolkit" && exit 0
  exit 1
fi
cmake --build "$build" --parallel 2 --target "instseg_backend_$name"

plugin=$build/lib/instseg/plugins/libinstseg_backend_$name.so
fail() {
  echo "broken: $1"
  exit 1
}
exported=$(nm -D --defined-only "$plugin" | awk '{print $3}')
[ "$exported" = instseg_backend_entry ] || fail "it exports $exported"
needed=$(readelf -d "$plugin" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
case $name in
  tensorrt) echo "$needed" | grep -qE '^libnvinfer\.so\.[0-9]+$' || fail "it does not need libnvinfer: $needed" ;;
  tensorrt_rtx) echo "$needed" | grep -qE '^libtensorrt_rtx\.so\.[0-9]+$' || fail "it does not need libtensorrt_rtx: $needed" ;;
esac
echo "$needed" | grep -qE 'libcuda' && fail "it needs CUDA's libraries, so that it cannot be loaded without a GPU: $needed"
readelf -d "$plugin" | grep -E 'R(UN)?PATH' | grep -q "$build" && fail "it looks for libraries in the build folder"

library=$(echo "$needed" | grep -E 'nvinfer|tensorrt_rtx')
found=$(find -L "$root" -name "$library" | head -n 1)
if [ -n "$found" ] && command -v python3 > /dev/null; then
  python3 "$source/tools/load_plugin.py" "$found" "$plugin"
else
  echo "not loaded: $library is not in $root"
fi
echo "good: $(basename "$plugin") needs $(echo "$needed" | tr '\n' ' ')"
