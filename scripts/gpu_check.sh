#!/usr/bin/env bash
# gpu_check.sh: the one command for a machine with an NVIDIA GPU. Builds the `cuda` preset for the device that is there,
# runs the device tests, and the comparison with PyTorch (bench/gpu/compare.py) where there is one. Installs nothing and needs no network; each part has
# a time limit, so that one that hangs does not lose the rest. Results go to $OUT, else to bench/results/.
# Without a device it still builds, runs what can run, and says so (exit code 3).
# It takes 9 minutes at the most. PARTS="build tests sanitizer compare" chooses; a comparison that was cut short goes on
# where it stopped when it is run again with the same OUT.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-bench/results}
build=build/cuda
mkdir -p "$out"
log=$out/gpu_check.log
: >"$log"
failed=0
parts=" ${PARTS:-build tests sanitizer compare} "
limit_of_all=${LIMIT:-530}

wanted() { [[ $parts == *" $1 "* ]]; }
left() { echo $((limit_of_all - SECONDS)); }

part() {  # part <name> <seconds> <command...>
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  [ "$limit" -le "$(left)" ] || limit=$(left)
  [ "$limit" -gt 0 ] || { echo "== $name: no time left" | tee -a "$log"; failed=1; return 1; }
  echo "== $name" | tee -a "$log"
  if timeout --kill-after=10 "$limit" "$@" >>"$log" 2>&1; then
    echo "   ok, $((SECONDS - start)) s" | tee -a "$log"
  else
    local code=$?
    echo "   FAILED with $code after $((SECONDS - start)) s; the end of $log:" | tee -a "$log"
    tail -n 20 "$log" | sed 's/^/   | /'
    failed=1
    return 1
  fi
}

command -v nvcc >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || { echo "gpu_check: nvcc was not found (looked on PATH and in /usr/local/cuda/bin)" >&2; exit 2; }

device=none
architecture=90
if command -v nvidia-smi >/dev/null && query=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader -i 0 2>/dev/null); then
  device=$query
  architecture=$(sed 's/.*, //; s/\.//' <<<"$query")
fi
{
  echo "device: $device"
  nvcc --version | tail -n 2
  echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)"
} | tee -a "$log"

# The binaries need image libraries that a bare machine lacks; the device tests do not. What the tests need may have
# travelled in gpu_bundle/ (scripts/gpu_bundle.sh).
configure=(cmake --preset cuda -DTW_APPS=OFF -DCMAKE_CUDA_ARCHITECTURES="$architecture")
# cuDNN, cuBLASLt and cuFFT may be there as parts of a Python with PyTorch only: their headers and libraries lie in its packages.
prefixes=()
[ -d gpu_bundle ] && prefixes+=("$PWD/gpu_bundle/usr")
packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
for folder in "$packages"/nvidia/cudnn "$packages"/nvidia/cu13; do
  [ -n "$packages" ] && [ -d "$folder/lib" ] || continue
  prefixes+=("$folder")
  export LD_LIBRARY_PATH="$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
[ ${#prefixes[@]} -gt 0 ] && configure+=(-DCMAKE_PREFIX_PATH="$(IFS=';'; echo "${prefixes[*]}")")
if wanted build; then
  part "configure for sm_$architecture" 120 "${configure[@]}" || exit 1
  targets=(tweedie_cuda tw_test_tensor tw_test_kernels tw_test_autograd tw_test_nn tw_test_diffusion)
  grep -q '^TW_BENCH:BOOL=ON' $build/CMakeCache.txt && targets+=(tw_bench_gpu)
  part "build" 400 cmake --build $build -j "$(nproc)" --target "${targets[@]}" || exit 1
fi

# Only what knows of devices: the CPU has its own tests.
if wanted tests; then
  for layer in tensor kernels autograd nn diffusion; do
    part "tests of $layer on the device" 120 $build/bin/tw_test_$layer --gtest_filter='*Cuda*' --gtest_output=json:"$out/gpu_$layer.json"
  done
  part "registers, shared memory, spills" 30 tests/kernels/cuda_budgets.py $build/kernels/CMakeFiles/tweedie_cuda.dir/cuda
fi
if wanted sanitizer && [ "$device" != none ]; then
  if command -v compute-sanitizer >/dev/null; then
    # The libraries' kernels are many and slow under it: products, convolutions and 16-bit attention have a limit of their own.
    part "memcheck" 60 compute-sanitizer --error-exitcode 1 $build/bin/tw_test_kernels --gtest_filter='*Cuda*-CudaProducts*:CudaAttention*f16'
    part "racecheck" 60 compute-sanitizer --tool racecheck --error-exitcode 1 $build/bin/tw_test_kernels --gtest_filter='*Cuda*-CudaProducts*:CudaAttention*f16'
    part "memcheck of products" 60 compute-sanitizer --error-exitcode 1 $build/bin/tw_test_kernels --gtest_filter='CudaProducts*:CudaAttention*f16'
  else
    echo "== sanitizer: compute-sanitizer was not found" | tee -a "$log"
  fi
fi
if wanted compare; then
  if [ ! -x $build/bin/tw_bench_gpu ]; then
    echo "== comparison: tw_bench_gpu was not built" | tee -a "$log"
  elif [ "$device" = none ]; then
    echo "== comparison with PyTorch: no device; it was not run" | tee -a "$log"
  elif ! python3 -c 'import torch' 2>/dev/null; then
    # Ours alone is worth having.
    part "steps, ours alone (python3 has no torch)" "$(left)" python3 bench/gpu/compare.py --bin $build/bin --out "$out/gpu" --contestants "ours,ours by op,ours one by one" --budget "$(($(left) - 5))"
  else
    part "comparison with PyTorch" "$(left)" python3 bench/gpu/compare.py --bin $build/bin --out "$out/gpu" --budget "$(($(left) - 5))"
  fi
  [ -f "$out/gpu.md" ] && cat "$out/gpu.md"
fi

if [ "$device" = none ]; then
  echo "gpu_check: no device here: the device tests were skipped, nothing was proven on a GPU"
  exit $((failed ? 1 : 3))
fi
# A skipped device test on a machine with a device is a failure.
if grep -E 'SKIPPED \] [^ ]*Cuda' "$log" | grep -qvE 'CudaWithoutDevice|CudaBackend|CudaConvolutionPlans'; then
  echo "gpu_check: device tests were skipped although there is a device" | tee -a "$log"
  failed=1
fi
exit $failed
