// Against the sum of the definition, axis by axis in f64.
#include "kernels/op/fft2d.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <complex>
#include <numbers>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

// The transform along `axis` (1: h, 2: w) of x (n, h, w, c, 2), f64; a number k is e^(sign 2 pi i ...), and
// element k lies at k + shift.
Tensor naive_axis(const Tensor& x, int axis, double sign, int64_t shift) {
  const Shape s = x.shape();
  const Tensor y = Tensor::zeros(s, DType::f64);
  const int64_t length = s[axis], inner = axis == 1 ? s[2] * s[3] : s[3],
                outer = s.numel() / 2 / length / inner;
  std::vector<std::complex<double>> roots;
  for (int64_t j = 0; j < length; ++j)
    roots.push_back(
        std::polar(1.0, sign * 2 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(length)));
  const auto* from = reinterpret_cast<const std::complex<double>*>(x.data<double>());
  auto* to = reinterpret_cast<std::complex<double>*>(y.data<double>());
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < length; ++k)
      for (int64_t j = 0; j < length; ++j)
        for (int64_t i = 0; i < inner; ++i)
          to[(o * length + (k + shift) % length) * inner + i] +=
              from[(o * length + (j + shift) % length) * inner + i] *
              roots[static_cast<size_t>(j * k % length)];
  return y;
}

Tensor naive(const Tensor& x, const Fft2dParams& params) {
  const Tensor wide = x.to(DType::f64).contiguous();
  const double sign = params.inverse ? 1 : -1;
  const Tensor y = naive_axis(naive_axis(wide, 2, sign, params.centred ? x.dim(2) / 2 : 0), 1, sign,
                              params.centred ? x.dim(1) / 2 : 0);
  for (double& value : y.span<double>()) value *= params.scale;
  return y;
}

Tensor scratch(int64_t bytes) { return Tensor::full({bytes / 4}, NAN); }

Tensor run_fft2d(const Tensor& x, const Fft2dParams& params) {
  const Shape s = x.shape();
  const Tensor y = Tensor::empty(s, x.dtype());
  fft2d(params, x.view(), y.view(),
        scratch(fft2d_workspace_bytes({s[0], s[1], s[2], s[3]}, x.dtype())).view());
  return y;
}
Tensor run_rfft2d(const Tensor& x, const RealFft2dParams& params) {
  const Shape s = x.shape();
  const Tensor y = Tensor::empty({s[0], s[1], s[2] / 2 + 1, s[3], 2}, x.dtype());
  rfft2d(params, x.view(), y.view(), scratch(fft2d_workspace_bytes(s, x.dtype())).view());
  return y;
}
Tensor run_irfft2d(const Tensor& x, const RealFft2dParams& params, int64_t w) {
  const Shape s = x.shape();
  const Tensor y = Tensor::empty({s[0], s[1], w, s[3]}, x.dtype());
  irfft2d(params, x.view(), y.view(), scratch(irfft2d_workspace_bytes(y.shape(), x.dtype())).view());
  return y;
}

// x (n, h, w, c) with imaginary part 0.
Tensor as_complex(const Tensor& x) {
  const Shape s = x.shape();
  const Tensor wide = x.to(DType::f64).contiguous(),
               z = Tensor::zeros({s[0], s[1], s[2], s[3], 2}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) z.data<double>()[2 * i] = wide.data<double>()[i];
  return z;
}

// The real image of half a spectrum, by the definition in the header.
Tensor naive_irfft2d(const Tensor& x, const RealFft2dParams& params, int64_t w) {
  const Shape s = x.shape();
  const Tensor z = naive_axis(x.to(DType::f64).contiguous(), 1, 1, 0),
               y = Tensor::zeros({s[0], s[1], w, s[3]}, DType::f64);
  const auto* from = reinterpret_cast<const std::complex<double>*>(z.data<double>());
  for (int64_t row = 0; row < s[0] * s[1]; ++row)
    for (int64_t i = 0; i < w; ++i)
      for (int64_t l = 0; l < s[2]; ++l)
        for (int64_t c = 0; c < s[3]; ++c) {
          const double angle = 2 * std::numbers::pi * static_cast<double>(i * l % w) / static_cast<double>(w);
          const double factor = l == 0 || 2 * l == w ? 1 : 2 * params.pair;
          y.data<double>()[(row * w + i) * s[3] + c] +=
              params.scale * factor * (from[(row * s[2] + l) * s[3] + c] * std::polar(1.0, angle)).real();
        }
  return y;
}

double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-13 : 1e-6; }

struct Case {
  int64_t n, h, w, c;
};
const Case cases[] = {{1, 1, 1, 1},   {2, 4, 4, 3},   {1, 8, 16, 1},  {3, 5, 7, 2},    {1, 12, 30, 4},
                      {1, 2, 3, 17},  {2, 11, 13, 1}, {1, 32, 1, 5},  {1, 1, 64, 3},   {17, 1, 10, 1},
                      {1, 37, 74, 1}, {2, 9, 41, 3},  {1, 62, 25, 2}, {1, 64, 128, 1}, {1, 24, 33, 8}};

class Fft2d : public EveryIsa {};

TEST_P(Fft2d, MatchesTheDefinition) {
  for (const auto& [n, h, w, c] : cases)
    for (const DType dtype : {DType::f32, DType::f64})
      for (const bool inverse : {false, true})
        for (const bool centred : {false, true}) {
          SCOPED_TRACE(
              detail::join(n, " ", h, " ", w, " ", c, " ", dtype_name(dtype), " ", inverse, " ", centred));
          const Tensor x = random_tensor({n, h, w, c, 2}, dtype, 1);
          const Fft2dParams params{inverse, centred, 0.5};
          EXPECT_LE(max_error(run_fft2d(x, params), naive(x, params)), tolerance(dtype));
        }
}

TEST_P(Fft2d, LongLinesOfEveryKind) {
  // Powers of two beyond the L1 cache, three large primes, and products with them.
  for (const int64_t length : {2048, 1000, 1023, 127, 509, 2 * 257, 31 * 29})
    for (const DType dtype : {DType::f32, DType::f64}) {
      SCOPED_TRACE(detail::join(length, " ", dtype_name(dtype)));
      const Tensor x = random_tensor({1, 1, length, 1, 2}, dtype, 1),
                   real = random_tensor({2, 1, length, 1}, dtype, 2);
      EXPECT_LE(max_error(run_fft2d(x, {}), naive(x, {})), tolerance(dtype));
      EXPECT_LE(max_error(run_irfft2d(run_rfft2d(real, {}), {1.0 / static_cast<double>(length)}, length),
                          real.to(DType::f64)),
                tolerance(dtype));
    }
}

TEST_P(Fft2d, HalfASpectrumMatchesTheDefinition) {
  for (const auto& [n, h, w, c] : cases)
    for (const DType dtype : {DType::f32, DType::f64}) {
      SCOPED_TRACE(detail::join(n, " ", h, " ", w, " ", c, " ", dtype_name(dtype)));
      const RealFft2dParams params{0.5, 3};
      const Tensor x = random_tensor({n, h, w, c}, dtype, 1), half = run_rfft2d(x, params);
      const Tensor whole = naive(as_complex(x), {});
      for (int64_t row = 0; row < n * h; ++row)
        for (int64_t l = 0; l <= w / 2; ++l)
          for (int64_t i = 0; i < 2 * c; ++i) {
            const double factor = l == 0 || 2 * l == w ? 0.5 : 1.5;
            const double found = dtype == DType::f64
                                     ? half.data<double>()[(row * (w / 2 + 1) + l) * 2 * c + i]
                                     : double{half.data<float>()[(row * (w / 2 + 1) + l) * 2 * c + i]};
            ASSERT_NEAR(found, factor * whole.data<double>()[(row * w + l) * 2 * c + i],
                        tolerance(dtype) * static_cast<double>(h * w))
                << row << " " << l;
          }
      // Any numbers, not those of a real image.
      const Tensor z = random_tensor(half.shape(), dtype, 2);
      EXPECT_LE(max_error(run_irfft2d(z, params, w), naive_irfft2d(z, params, w)), tolerance(dtype));
    }
}

TEST_P(Fft2d, KeepsLengthsAndComesBack) {
  const Tensor x = random_tensor({2, 48, 35, 3, 2}, DType::f32, 1);
  const double scale = fft_scale(FftNorm::ortho, false, 48, 35);
  const Tensor y = run_fft2d(x, {.scale = scale});
  double before = 0, after = 0;
  for (const float v : x.span<float>()) before += double{v} * v;
  for (const float v : y.span<float>()) after += double{v} * v;
  EXPECT_NEAR(after / before, 1, 1e-6);  // Parseval
  EXPECT_LE(max_error(run_fft2d(y, {.inverse = true, .scale = scale}), x), 1e-6);
}

TEST_P(Fft2d, InPlaceAndWithoutWritingElsewhere) {
  const Tensor x = random_tensor({2, 20, 18, 3, 2}, DType::f32, 1), y = x.clone();
  const Tensor expected = run_fft2d(x, {});
  const int64_t bytes = fft2d_workspace_bytes({2, 20, 18, 3}, DType::f32);
  std::vector<float> memory(static_cast<size_t>(bytes / 4 + 32), 7);
  const size_t offset = (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) / 4 % 16;
  View workspace{memory.data() + offset, DType::f32, Device::cpu, {bytes / 4}, {1}};
  fft2d({}, y.view(), y.view(), workspace);
  EXPECT_EQ(max_error(y, expected), 0);
  for (size_t i = offset + static_cast<size_t>(bytes / 4); i < memory.size(); ++i) EXPECT_EQ(memory[i], 7);
}

TEST_P(Fft2d, DoesNotDependOnThreadsOrOtherImages) {
  for (const int64_t c : {1, 3, 16}) {
    const Tensor x = random_tensor({3, 48, 70, c, 2}, DType::f32, 1),
                 real = random_tensor({3, 48, 70, c}, DType::f32, 2);
    expect_same_with_two_threads([&] { return run_fft2d(x, {}); });
    expect_same_with_two_threads([&] { return run_rfft2d(real, {}); });
    expect_same_with_two_threads([&] { return run_irfft2d(x.slice(2, 0, 36).contiguous(), {}, 71); });
    EXPECT_EQ(max_error(run_fft2d(x.slice(0, 1, 2).contiguous(), {}), run_fft2d(x, {}).slice(0, 1, 2)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Fft2d, every_isa(), isa_test_name);

TEST(Fft2dScale, FollowsTheNorm) {
  EXPECT_EQ(fft_scale(FftNorm::backward, false, 4, 9), 1);
  EXPECT_EQ(fft_scale(FftNorm::backward, true, 4, 9), 1.0 / 36);
  EXPECT_EQ(fft_scale(FftNorm::forward, false, 4, 9), 1.0 / 36);
  EXPECT_EQ(fft_scale(FftNorm::forward, true, 4, 9), 1);
  EXPECT_EQ(fft_scale(FftNorm::ortho, true, 4, 9), 1.0 / 6);
}

TEST(Fft2dArguments, WrongOnesAreNamed) {
  const Tensor x = Tensor::zeros({1, 4, 4, 2}), z = Tensor::zeros({1, 4, 3, 2, 2}),
               w = Tensor::zeros({1 << 16});
  const auto message = [](auto f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  using testing::HasSubstr;
  EXPECT_THAT(message([&] { fft2d({}, x.view(), x.view(), w.view()); }), HasSubstr("(n, h, w, c, 2)"));
  EXPECT_THAT(message([&] { rfft2d({}, x.view(), x.view(), w.view()); }), HasSubstr("y"));
  EXPECT_THAT(message([&] { rfft2d({}, x.view(), z.view(), {}); }), HasSubstr("workspace"));
  EXPECT_THAT(message([&] { rfft2d({}, x.to(DType::bf16).view(), z.to(DType::bf16).view(), w.view()); }),
              HasSubstr("bf16"));
  EXPECT_THAT(message([&] {
                irfft2d({}, z.view(), Tensor::zeros({1, 4, 6, 2}).view(), w.view());
              }),
              HasSubstr("x"));
  EXPECT_THAT(message([&] {
                rfft2d({}, Tensor::zeros({1, 0, 4, 1}).view(), z.view(), w.view());
              }),
              HasSubstr("at least 1"));
  const Tensor nothing = Tensor::zeros({0, 4, 4, 2});
  rfft2d({}, nothing.view(), Tensor::zeros({0, 4, 3, 2, 2}).view(), {});
}

}  // namespace
}  // namespace tw::kernels
