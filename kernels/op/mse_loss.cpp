// Chunks of fixed size within each sample: f32 inside a chunk, f64 from chunk to chunk.
#include "kernels/op/mse_loss.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/mse_loss.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk = 4096;  // elements

struct Sizes {
  int64_t n, each, chunks;  // samples, elements of one, chunks of one
};

Sizes sizes_of(const View& a) {
  check(a.rank() >= 1, "mse_loss", "expected (n, ...), found ", a.shape);
  const int64_t n = a.shape[0], each = n ? a.numel() / n : 0;
  return {n, each, (each + chunk - 1) / chunk};
}

const char* at(const View& v, int64_t offset) {
  return static_cast<const char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype));
}

void check_losses(const View& losses, const View& a) {
  check_dense("mse_loss", {"the losses", losses}, a.device);
  check_shape("mse_loss", {"the losses", losses}, {a.shape[0]});
  check_dtype("mse_loss", {"the losses", losses}, a.dtype == DType::f64 ? DType::f64 : DType::f32);
}

}  // namespace

size_t mse_workspace_bytes(const View& a) {
  const Sizes s = sizes_of(a);
  return static_cast<size_t>(s.n * s.chunks) * sizeof(double);
}

void mse_forward(const View& a, const View& b, const View& y, void* workspace) {
  const OpTimer timer("mse_forward", a, b);
  const Device device = device_of("mse_loss", {{"a", a}, {"b", b}, {"the losses", y}});
  check_same("mse_loss", {{"a", a}, {"b", b}}, device);
  const Sizes s = sizes_of(a);
  check_losses(y, a);
  if (device == Device::cuda) return cuda::call("tw_cuda_mse_forward", a, b, y);
  check(workspace != nullptr || s.n * s.chunks == 0, "mse_loss", "the workspace is missing");
  double* partial = static_cast<double*>(workspace);
  const auto sum = active<MseKernels>().sum;
  parallel_for(s.n * s.chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % s.chunks * chunk, offset = i / s.chunks * s.each + first;
      partial[i] = sum(a.dtype, at(a, offset), at(b, offset), std::min(chunk, s.each - first));
    }
  });
  for (int64_t i = 0; i < s.n; ++i) {
    double total = 0;
    for (int64_t j = 0; j < s.chunks; ++j) total += partial[i * s.chunks + j];
    total /= static_cast<double>(s.each);
    if (y.dtype == DType::f64)
      static_cast<double*>(y.pointer)[i] = total;
    else
      static_cast<float*>(y.pointer)[i] = static_cast<float>(total);
  }
}

void mse_backward(const View& a, const View& b, const View& dy, const View& da) {
  const OpTimer timer("mse_backward", a, b, da);
  const Device device = device_of("mse_loss", {{"a", a}, {"b", b}, {"dy", dy}, {"da", da}});
  check_same("mse_loss", {{"a", a}, {"b", b}, {"da", da}}, device);
  const Sizes s = sizes_of(a);
  check_losses(dy, a);
  if (device == Device::cuda) return cuda::call("tw_cuda_mse_backward", a, b, dy, da);
  const auto run = active<MseKernels>().backward;
  parallel_for(s.n * s.chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sample = i / s.chunks, first = i % s.chunks * chunk, offset = sample * s.each + first;
      const double seed = dy.dtype == DType::f64 ? static_cast<const double*>(dy.pointer)[sample]
                                                 : static_cast<const float*>(dy.pointer)[sample];
      run(a.dtype, 2 * seed / static_cast<double>(s.each), at(a, offset), at(b, offset),
          const_cast<char*>(at(da, offset)), std::min(chunk, s.each - first));
    }
  });
}

}  // namespace tw::kernels
