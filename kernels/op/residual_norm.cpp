#include "kernels/op/residual_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/residual_norm.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk = 4096;     // elements a thread takes at a time
constexpr int64_t sum_chunk = 512;  // elements summed in f32

void check_pair(const char* op, const View& y, const View& a, const View& loss) {
  const Device device = device_of(op, {{"y", y}, {"a", a}, {"loss", loss}});
  check_same(op, {{"y", y}, {"a", a}}, device);
  check(a.rank() >= 1, op, "a needs a batch extent");
  check_dense(op, {"loss", loss}, device);
  check_shape(op, {"loss", loss}, Shape{a.dim(0)});
  check_dtype(op, {"loss", loss}, a.dtype == DType::f64 ? DType::f64 : DType::f32);
}

double get(const View& v, int64_t i) {
  return v.dtype == DType::f64 ? v.data<double>()[i] : static_cast<double>(v.data<float>()[i]);
}

}  // namespace

void residual_norm_forward(ResidualKind kind, const View& y, const View& a, const View& loss) {
  const OpTimer timer("residual_norm_forward", y, a);
  check_pair("residual_norm_forward", y, a, loss);
  if (a.device == Device::cuda) return cuda::call("tw_cuda_residual_norm_forward", kind, y, a, loss);
  const auto sum_of_squares = active<ResidualNormKernels>().sum_of_squares;
  const int64_t n = a.dim(0), size = n == 0 ? 0 : a.numel() / n;
  parallel_for(n, std::max<int64_t>(1, 8192 / std::max<int64_t>(size, 1)), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      double sum = 0;
      for (int64_t begin = 0; begin < size; begin += sum_chunk)
        sum += sum_of_squares(y, a, i * size + begin, i * size + std::min(begin + sum_chunk, size));
      const double l = kind == ResidualKind::norm ? std::sqrt(sum) : sum;
      if (loss.dtype == DType::f64)
        loss.data<double>()[i] = l;
      else
        loss.data<float>()[i] = static_cast<float>(l);
    }
  });
}

void residual_norm_backward(ResidualKind kind, const View& y, const View& a, const View& loss,
                            const View& dloss, const View& da) {
  const OpTimer timer("residual_norm_backward", y, a, da);
  check_pair("residual_norm_backward", y, a, loss);
  check_same("residual_norm_backward", {{"loss", loss}, {"dloss", dloss}}, a.device);
  check_same("residual_norm_backward", {{"a", a}, {"da", da}}, a.device);
  if (a.numel() == 0) return;
  if (a.device == Device::cuda)
    return cuda::call("tw_cuda_residual_norm_backward", kind, y, a, loss, dloss, da);
  const auto run = active<ResidualNormKernels>().backward;
  const int64_t n = a.dim(0), size = a.numel() / n, chunks = (size + chunk - 1) / chunk;
  parallel_for(n * chunks, 2, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t i = item / chunks, begin = item % chunks * chunk;
      const double l = get(loss, i), dl = get(dloss, i);
      const double factor = kind == ResidualKind::squared ? -2 * dl : l > 0 ? -dl / l : 0;
      run(factor, y, a, da, i * size + begin, i * size + std::min(begin + chunk, size));
    }
  });
}

}  // namespace tw::kernels
