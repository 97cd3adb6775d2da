#include "kernels/op/device_rates.h"

#include <algorithm>
#include <chrono>

#include "kernels/op/copy.h"
#include "kernels/op/gemm.h"
#include "tensor/cuda_library.h"

namespace tw::kernels {
namespace {

// A contiguous array on the device, of one value.
class Array {
 public:
  Array(const Shape& shape, DType dtype, double value)
      : bytes_(static_cast<size_t>(shape.numel()) * dtype_size(dtype)),
        view_{cuda_pool()->allocate(bytes_), dtype, Device::cuda, shape, contiguous_strides(shape)} {
    fill(value, view_);
  }
  ~Array() { cuda_pool()->release(view_.pointer, bytes_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  const View& view() const { return view_; }

 private:
  size_t bytes_;
  View view_;
};

constexpr double long_enough = 0.5e-3;

// The shortest time of a call in a few runs of several.
template <class F>
double best_seconds(F f) {
  constexpr int calls = 5;
  f();
  double best = 1e30;
  for (int run = 0; run < 5; ++run) {
    cuda_wait();
    const auto begin = std::chrono::steady_clock::now();
    for (int call = 0; call < calls; ++call) f();
    cuda_wait();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::min(best, seconds / calls);
  }
  return best;
}

double product_rate(DType dtype) {
  for (int64_t size = 256;; size *= 2) {
    const Array a({size, size}, dtype, 0.5), b({size, size}, dtype, 0.5), c({size, size}, dtype, 0);
    const double seconds = best_seconds([&] { gemm({}, a.view(), b.view(), {}, c.view(), {}); });
    const auto n = static_cast<double>(size);
    if (seconds >= long_enough || size == 8192) return 2 * n * n * n / seconds;
  }
}

MachineRates::Level copy_rate() {
  for (int64_t bytes = int64_t{1} << 20;; bytes *= 2) {
    const Array from({bytes / 4}, DType::f32, 1), to({bytes / 4}, DType::f32, 0);
    const double seconds = best_seconds([&] { copy(from.view(), to.view()); });
    const double moved = 2.0 * static_cast<double>(bytes);
    if (seconds >= long_enough || bytes == int64_t{1} << 28) return {moved, moved / seconds};
  }
}

}  // namespace

MachineRates measure_device_rates() {
  MachineRates rates;
  rates.threads = 0;
  rates.flops = product_rate(DType::f32);
  rates.flops_16bit = product_rate(DType::bf16);
  rates.levels = {copy_rate()};
  return rates;
}

}  // namespace tw::kernels
