#include "kernels/op/pixel_sum.h"

#include <algorithm>

#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t width = 32;            // channels at a time
constexpr int64_t pixels_a_chunk = 256;  // two levels of sums keep the rounding error small

template <class T, class Sum, class Out>
void sum_of(const View& x, const View& sum, int64_t pixels, int64_t channels) {
  const int64_t pieces = (channels + width - 1) / width;
  parallel_for(x.dim(0) * pieces, 16, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t sample = item / pieces, channel = item % pieces * width;
      const int64_t count = std::min(width, channels - channel);
      const T* from = static_cast<const T*>(x.pointer) + sample * pixels * channels + channel;
      Sum total[width] = {};
      for (int64_t first = 0; first < pixels; first += pixels_a_chunk) {
        Sum part[width] = {};
        const int64_t last = std::min(pixels, first + pixels_a_chunk);
        for (int64_t p = first; p < last; ++p) {
          if (count == width)
            for (int64_t c = 0; c < width; ++c) part[c] += static_cast<Sum>(from[p * channels + c]);
          else
            for (int64_t c = 0; c < count; ++c) part[c] += static_cast<Sum>(from[p * channels + c]);
        }
        for (int64_t c = 0; c < width; ++c) total[c] += part[c];
      }
      Out* to = static_cast<Out*>(sum.pointer) + sample * channels + channel;
      for (int64_t c = 0; c < count; ++c) to[c] = Out(total[c]);
    }
  });
}

}  // namespace

void pixel_sum(const View& x, const View& sum) {
  const OpTimer timer("pixel_sum", x, sum);
  const Device device = device_of("pixel_sum", {{"x", x}, {"sum", sum}});
  check_dense("pixel_sum", {"x", x}, device);
  check_dense("pixel_sum", {"sum", sum}, device);
  check(x.rank() >= 2, "pixel_sum", "x must be (n, ..., c), found ", x.shape);
  const int64_t channels = x.shape.back();
  check_shape("pixel_sum", {"sum", sum}, {x.dim(0), channels});
  check((x.dtype == DType::f64) == (sum.dtype == DType::f64), "pixel_sum", "x is ", dtype_name(x.dtype),
        ", sum is ", dtype_name(sum.dtype), "; f64 goes with f64 only");
  if (device == Device::cuda) return cuda::call("tw_cuda_pixel_sum", x, sum);
  const int64_t rows = x.dim(0) * channels, pixels = rows ? x.numel() / rows : 0;
  if (x.dtype == DType::f64) return sum_of<double, double, double>(x, sum, pixels, channels);
  if (x.dtype == DType::bf16 && sum.dtype == DType::bf16)
    return sum_of<bf16, float, bf16>(x, sum, pixels, channels);
  if (x.dtype == DType::bf16) return sum_of<bf16, float, float>(x, sum, pixels, channels);
  if (sum.dtype == DType::bf16) return sum_of<float, float, bf16>(x, sum, pixels, channels);
  sum_of<float, float, float>(x, sum, pixels, channels);
}

}  // namespace tw::kernels
