// y[i] = f(x[i]) and y[i] = f(x[i], z[i]) over contiguous arrays, in accesses of 16 bytes where every pointer
// is aligned to them. f works on the element's Value (element.h). y may be x or z.
#pragma once

#include "kernels/cuda/element.h"

namespace tw::cuda {

template <class T>
struct alignas(16) Pack {
  static constexpr int width = 16 / static_cast<int>(sizeof(typename Element<T>::Memory));
  typename Element<T>::Memory at[width];
};

template <class T, class F, class... Inputs>
__global__ void map_kernel(F f, int64_t packs, int64_t n, typename Element<T>::Memory* y,
                           const Inputs*... x) {
  using E = Element<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < packs; i += step) {
    const auto one = [&](Pack<T>&& result, const auto&... in) {
#pragma unroll
      for (int j = 0; j < Pack<T>::width; ++j) result.at[j] = E::store(f(E::load(in.at[j])...));
      reinterpret_cast<Pack<T>*>(y)[i] = result;
    };
    one(Pack<T>{}, reinterpret_cast<const Pack<T>*>(x)[i]...);
  }
  for (int64_t i = packs * Pack<T>::width + first; i < n; i += step) y[i] = E::store(f(E::load(x[i])...));
}

template <class T, class>
using ReadAs = typename Element<T>::Memory;

// The pointers are those of arrays of T.
template <class T, class F, class... Inputs>
const char* map(const char* kernel, F f, int64_t n, void* y, const Inputs*... x) {
  using Memory = typename Element<T>::Memory;
  if (n == 0) return nullptr;
  const bool aligned = ((reinterpret_cast<uintptr_t>(x) | ...) | reinterpret_cast<uintptr_t>(y)) % 16 == 0;
  const int64_t packs = aligned ? n / Pack<T>::width : 0;
  launch(map_kernel<T, F, ReadAs<T, Inputs>...>, blocks_for(aligned ? packs + Pack<T>::width : n), threads, f,
         packs, n, static_cast<Memory*>(y), reinterpret_cast<const Memory*>(x)...);
  return launched(kernel);
}

}  // namespace tw::cuda
