// y = a op b with broadcasting; arrays of one shape without gaps go through 16-byte accesses.
#include "kernels/cuda/map.h"
#include "kernels/cuda/strided.h"
#include "kernels/op/binary.h"

namespace tw::cuda {
namespace {

using kernels::Binary;
using kernels::StridedLoop;

template <class T, class F>
__global__ void binary_kernel(F f, StridedLoop loop, const typename Element<T>::Memory* a,
                              const typename Element<T>::Memory* b, typename Element<T>::Memory* y) {
  using E = Element<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < loop.numel; i += step) {
    const auto offsets = offsets_of<2>(loop, i);
    y[i] = E::store(f(E::load(a[offsets.at[0]]), E::load(b[offsets.at[1]])));
  }
}

template <class T, class F>
const char* run(F f, const StridedLoop& loop, const View& a, const View& b, const View& y) {
  using Memory = typename Element<T>::Memory;
  if (loop.numel == 0) return nullptr;
  if (loop.rank == 1 && loop.inner_stride(0) == 1 && loop.inner_stride(1) == 1)
    return map<T>("binary", f, loop.numel, y.pointer, static_cast<const char*>(a.pointer),
                  static_cast<const char*>(b.pointer));
  launch(binary_kernel<T, F>, blocks_for(loop.numel), threads, f, loop, static_cast<const Memory*>(a.pointer),
         static_cast<const Memory*>(b.pointer), static_cast<Memory*>(y.pointer));
  return launched("binary");
}

template <class T>
const char* run_kind(Binary kind, const StridedLoop& loop, const View& a, const View& b, const View& y) {
  using V = typename Element<T>::Value;
  switch (kind) {
    case Binary::add:
      return run<T>([] __device__(V p, V q) { return p + q; }, loop, a, b, y);
    case Binary::sub:
      return run<T>([] __device__(V p, V q) { return p - q; }, loop, a, b, y);
    case Binary::mul:
      return run<T>([] __device__(V p, V q) { return p * q; }, loop, a, b, y);
    case Binary::div:
      break;
  }
  return run<T>([] __device__(V p, V q) { return p / q; }, loop, a, b, y);
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_binary(const Binary* kind, const StridedLoop* loop, const View* a, const View* b,
                              const View* y) {
  return for_float("binary", y->dtype, [&]<class T>(T) { return run_kind<T>(*kind, *loop, *a, *b, *y); });
}

}  // namespace tw::cuda
