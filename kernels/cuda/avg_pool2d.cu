// Means over k x k windows and their transpose, and nearest doubling, which is the same without the factor.
// One thread an element of the result; windows are summed in f32 (f64), row by row.
#include "kernels/cuda/element.h"
#include "kernels/op/avg_pool2d.h"

namespace tw::cuda {
namespace {

struct Windows {
  int64_t k, h, w, c, big_h, big_w;  // h, w: of the smaller image
  double scale;
};

// small = scale * sum of big over each window
template <class T>
__global__ void gather(Windows s, const typename Element<T>::Memory* big, int64_t n,
                       typename Element<T>::Memory* small) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t channel = i % s.c, column = i / s.c % s.w, row = i / s.c / s.w % s.h;
    const int64_t sample = i / s.c / s.w / s.h;
    V sum = 0;
    for (int64_t a = 0; a < s.k; ++a)
      for (int64_t b = 0; b < s.k; ++b)
        sum += Element<T>::load(
            big[((sample * s.big_h + row * s.k + a) * s.big_w + column * s.k + b) * s.c + channel]);
    small[i] = Element<T>::store(sum * static_cast<V>(s.scale));
  }
}

// big = scale * small of its window, 0 outside of all windows
template <class T>
__global__ void spread(Windows s, const typename Element<T>::Memory* small, int64_t n,
                       typename Element<T>::Memory* big) {
  using V = typename Element<T>::Value;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t channel = i % s.c, column = i / s.c % s.big_w / s.k,
                  row = i / s.c / s.big_w % s.big_h / s.k;
    const int64_t sample = i / s.c / s.big_w / s.big_h;
    const bool inside = row < s.h && column < s.w;
    const V value =
        inside ? Element<T>::load(small[((sample * s.h + row) * s.w + column) * s.c + channel]) : V(0);
    big[i] = Element<T>::store(value * static_cast<V>(s.scale));
  }
}

Windows windows_of(int64_t k, double scale, const View& big, const View& small) {
  return {k, small.shape[1], small.shape[2], small.shape[3], big.shape[1], big.shape[2], scale};
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_gather_windows(const int64_t* k, const double* scale, const View* big,
                                      const View* small) {
  if (small->numel() == 0) return nullptr;
  return for_float("gather_windows", big->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    launch(gather<T>, blocks_for(small->numel()), threads, windows_of(*k, *scale, *big, *small),
           static_cast<const M*>(big->pointer), small->numel(), static_cast<M*>(small->pointer));
    return launched("gather_windows");
  });
}

TW_CUDA_EXPORT tw_cuda_spread_windows(const int64_t* k, const double* scale, const View* small,
                                      const View* big) {
  if (big->numel() == 0) return nullptr;
  return for_float("spread_windows", big->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    launch(spread<T>, blocks_for(big->numel()), threads, windows_of(*k, *scale, *big, *small),
           static_cast<const M*>(small->pointer), big->numel(), static_cast<M*>(big->pointer));
    return launched("spread_windows");
  });
}

}  // namespace tw::cuda
