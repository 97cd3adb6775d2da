// Fourier transforms over h and w of n images: 5 N log2 N operations a complex one; bytes are those of the
// two passes, which read and write the array each. The copy of an array of that size stands beside them.
#include <benchmark/benchmark.h>

#include "kernels/op/copy.h"
#include "kernels/op/fft2d.h"
#include "tensor/tensor.h"

namespace {

using tw::DType;
using tw::Shape;
using tw::Tensor;

enum class Transform { complex, real, back, copy };

// Arguments: n, h and w, c.
void fft2d(benchmark::State& state, Transform kind, DType dtype) {
  const int64_t n = state.range(0), side = state.range(1), c = state.range(2);
  const Shape image{n, side, side, c}, half{n, side, side / 2 + 1, c, 2};
  const Tensor x = Tensor::full(kind == Transform::back   ? half
                                : kind == Transform::real ? image
                                                          : image.with(3, 2 * c),
                                0.5)
                       .to(dtype);
  const Tensor z =
      x.reshape(kind == Transform::back || kind == Transform::real ? x.shape() : Shape{n, side, side, c, 2});
  const Tensor y = Tensor::zeros(kind == Transform::real   ? half
                                 : kind == Transform::back ? image
                                                           : z.shape(),
                                 dtype);
  const Tensor scratch = Tensor::empty(
      {tw::kernels::irfft2d_workspace_bytes(image, dtype) + tw::kernels::fft2d_workspace_bytes(image, dtype)},
      DType::u8);
  for (auto _ : state) switch (kind) {
      case Transform::complex:
        tw::kernels::fft2d({}, z.view(), y.view(), scratch.view());
        break;
      case Transform::real:
        tw::kernels::rfft2d({}, z.view(), y.view(), scratch.view());
        break;
      case Transform::back:
        tw::kernels::irfft2d({}, z.view(), y.view(), scratch.view());
        break;
      case Transform::copy:
        tw::kernels::copy(z.view(), y.view());
        break;
    }
  const auto iterations = static_cast<double>(state.iterations());
  const double flops = tw::kernels::fft2d_flops(image) * (kind == Transform::complex ? 1 : 0.5);
  if (kind != Transform::copy)
    state.counters["flops"] = benchmark::Counter(iterations * flops, benchmark::Counter::kIsRate);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(x.nbytes() + y.nbytes()) *
                          (kind == Transform::copy ? 1 : 2));
}

BENCHMARK_CAPTURE(fft2d, complex_f32, Transform::complex, DType::f32)
    ->ArgsProduct({{1}, {256, 384, 512, 768}, {1}})
    ->Args({1, 256, 3})
    ->Args({16, 64, 3})
    ->Args({1, 257, 1})
    ->UseRealTime();
BENCHMARK_CAPTURE(fft2d, real_f32, Transform::real, DType::f32)
    ->ArgsProduct({{1}, {256, 384, 512, 768}, {1}})
    ->Args({1, 256, 3})
    ->Args({16, 64, 3})
    ->UseRealTime();
BENCHMARK_CAPTURE(fft2d, back_f32, Transform::back, DType::f32)
    ->Args({1, 256, 1})
    ->Args({1, 256, 3})
    ->UseRealTime();
BENCHMARK_CAPTURE(fft2d, copy_f32, Transform::copy, DType::f32)
    ->ArgsProduct({{1}, {256, 512, 768}, {1}})
    ->UseRealTime();
BENCHMARK_CAPTURE(fft2d, complex_f64, Transform::complex, DType::f64)->Args({1, 256, 1})->UseRealTime();

}  // namespace
