#include "kernels/cpu/isa/avg_pool2d.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;

template <class T>
TW_INLINE Compute<T> window_sum(const T* big, int64_t row, int64_t k, int64_t c, int64_t count) {
  using V = Compute<T>;
  V sum(0);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) {
      const T* from = big + i * row + j * c;
      sum += count == V::lanes ? V::load(from) : V::load(from, count);
    }
  return sum;
}

template <class T>
void gather_of(int64_t k, Compute<T> scale, const T* big, int64_t row, T* small, int64_t columns, int64_t c) {
  using V = Compute<T>;
  for (int64_t j = 0; j < columns; ++j) {
    const T* window = big + j * k * c;
    T* out = small + j * c;
    int64_t l = 0;
    for (; l + V::lanes <= c; l += V::lanes)
      (scale * window_sum(window + l, row, k, c, V::lanes)).store(out + l);
    if (l < c) (scale * window_sum(window + l, row, k, c, c - l)).store(out + l, c - l);
  }
}

template <class T>
void spread_of(int64_t k, Compute<T> scale, const T* small, T* big, int64_t row, int64_t columns, int64_t c) {
  using V = Compute<T>;
  for (int64_t j = 0; j < columns; ++j) {
    T* window = big + j * k * c;
    const T* in = small + j * c;
    for (int64_t l = 0; l < c; l += V::lanes) {
      const int64_t count = c - l < V::lanes ? c - l : V::lanes;
      const V value = scale * (count == V::lanes ? V::load(in + l) : V::load(in + l, count));
      for (int64_t i = 0; i < k; ++i)
        for (int64_t m = 0; m < k; ++m) {
          T* to = window + i * row + m * c + l;
          if (count == V::lanes)
            value.store(to);
          else
            value.store(to, count);
        }
    }
  }
}

void gather(DType dtype, int64_t k, double scale, const void* big, int64_t row, void* small, int64_t columns,
            int64_t c) {
  auto as = [&]<class T>(T) {
    gather_of<T>(k, Compute<T>(scale), static_cast<const T*>(big), row, static_cast<T*>(small), columns, c);
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

void spread(DType dtype, int64_t k, double scale, const void* small, void* big, int64_t row, int64_t columns,
            int64_t c) {
  auto as = [&]<class T>(T) {
    spread_of<T>(k, Compute<T>(scale), static_cast<const T*>(small), static_cast<T*>(big), row, columns, c);
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

}  // namespace

template <>
const WindowKernels& kernels_of<WindowKernels, Isa::TW_ISA>() {
  static const WindowKernels kernels{gather, spread};
  return kernels;
}

}  // namespace tw::kernels
