// Work is shared by rows of windows.
#include "kernels/op/avg_pool2d.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/avg_pool2d.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain_elements = 16384;

void check_windows(const char* op, int64_t k, const View& big, const View& small) {
  const Device device = device_of(op, {{"the larger image", big}, {"the smaller image", small}});
  check_dense(op, {"the larger image", big}, device);
  check_dense(op, {"the smaller image", small}, device);
  check_dtype(op, {"the smaller image", small}, big.dtype);
  check(k >= 1, op, "window ", k, " must be at least 1");
  check(big.rank() == 4, op, "expected (n, h, w, c), found ", big.shape);
  check_shape(op, {"the smaller image", small},
              {big.shape[0], big.shape[1] / k, big.shape[2] / k, big.shape[3]});
}

// Calls f(offset in big, offset in small) in elements for each row of windows.
template <class F>
void for_each_row(int64_t k, const View& big, const View& small, F f) {
  const int64_t h = small.shape[1], big_row = big.shape[2] * big.shape[3];
  const int64_t small_row = small.shape[2] * small.shape[3];
  const int64_t grain = grain_elements / std::max<int64_t>(1, k * big_row) + 1;
  parallel_for(small.shape[0] * h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f((r / h * big.shape[1] + r % h * k) * big_row, r * small_row);
  });
}

char* element(const View& v, int64_t offset) {
  return static_cast<char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype));
}

void gather(int64_t k, double scale, const View& big, const View& small) {
  if (big.device == Device::cuda) return cuda::call("tw_cuda_gather_windows", k, scale, big, small);
  const auto run = active<WindowKernels>().gather;
  const int64_t c = big.shape[3];
  for_each_row(k, big, small, [&](int64_t in, int64_t out) {
    run(big.dtype, k, scale, element(big, in), big.shape[2] * c, element(small, out), small.shape[2], c);
  });
}

void spread(int64_t k, double scale, const View& small, const View& big) {
  if (big.device == Device::cuda) return cuda::call("tw_cuda_spread_windows", k, scale, small, big);
  const auto run = active<WindowKernels>().spread;
  const int64_t c = big.shape[3];
  if (big.shape[1] % k != 0 || big.shape[2] % k != 0)
    std::memset(big.pointer, 0, static_cast<size_t>(big.numel()) * dtype_size(big.dtype));
  for_each_row(k, big, small, [&](int64_t out, int64_t in) {
    run(big.dtype, k, scale, element(small, in), element(big, out), big.shape[2] * c, small.shape[2], c);
  });
}

}  // namespace

void avg_pool2d_forward(int64_t k, const View& x, const View& y) {
  const OpTimer timer("avg_pool2d_forward", x, y);
  check_windows("avg_pool2d", k, x, y);
  gather(k, 1.0 / static_cast<double>(k * k), x, y);
}

void avg_pool2d_backward(int64_t k, const View& dy, const View& dx) {
  const OpTimer timer("avg_pool2d_backward", dy, dx);
  check_windows("avg_pool2d", k, dx, dy);
  spread(k, 1.0 / static_cast<double>(k * k), dy, dx);
}

void upsample_nearest2x_forward(const View& x, const View& y) {
  const OpTimer timer("upsample_nearest2x_forward", x, y);
  check_windows("upsample_nearest2x", 2, y, x);
  check(y.shape[1] == 2 * x.shape[1] && y.shape[2] == 2 * x.shape[2], "upsample_nearest2x", "y ", y.shape,
        " is not twice x ", x.shape);
  spread(2, 1, x, y);
}

void upsample_nearest2x_backward(const View& dy, const View& dx) {
  const OpTimer timer("upsample_nearest2x_backward", dy, dx);
  check_windows("upsample_nearest2x", 2, dy, dx);
  gather(2, 1, dy, dx);
}

}  // namespace tw::kernels
