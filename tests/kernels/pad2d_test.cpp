#include "kernels/op/pad2d.h"

#include <gtest/gtest.h>

#include "tests/kernels/every_isa.h"
#include "tests/kernels/thread_counts.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::Pad2dParams;
using kernels::PadMode;

// -1 for a zero.
int64_t naive_source(PadMode mode, int64_t at, int64_t extent) {
  if (mode == PadMode::zero) return at < 0 || at >= extent ? -1 : at;
  if (mode == PadMode::replicate) return std::min(std::max<int64_t>(at, 0), extent - 1);
  at = std::abs(at);
  return at < extent ? at : 2 * (extent - 1) - at;
}

// Calls f(index in y, index in x) for every pixel of y that is not a zero.
template <class F>
void for_each_pair(const Pad2dParams& p, const Shape& x, const Shape& y, F f) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t i = 0; i < y[1]; ++i)
      for (int64_t j = 0; j < y[2]; ++j)
        for (int64_t c = 0; c < y[3]; ++c) {
          const int64_t si = naive_source(p.mode, i - p.top, x[1]),
                        sj = naive_source(p.mode, j - p.left, x[2]);
          if (si >= 0 && sj >= 0)
            f(((n * y[1] + i) * y[2] + j) * y[3] + c, ((n * x[1] + si) * x[2] + sj) * x[3] + c);
        }
}

class Pad2dTest : public EveryIsa {};

TEST_P(Pad2dTest, BothDirectionsMatchTheDefinition) {
  for (PadMode mode : {PadMode::zero, PadMode::reflect, PadMode::replicate})
    for (const Pad2dParams& p :
         {Pad2dParams{1, 1, 1, 1, mode}, {0, 2, 3, 1, mode}, {3, 0, 0, 4, mode}, {0, 0, 0, 0, mode}})
      for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
        const Shape sx{2, 4, 5, 3}, sy{2, 4 + p.top + p.bottom, 5 + p.left + p.right, 3};
        const Tensor x = random_tensor(sx, dtype, 1), dy = random_tensor(sy, dtype, 2);
        Tensor y = Tensor::empty(sy, dtype), dx = Tensor::empty(sx, dtype);
        kernels::pad2d_forward(p, x.view(), y.view());
        kernels::pad2d_backward(p, dy.view(), dx.view());
        std::vector<double> expected_y(static_cast<size_t>(sy.numel())),
            expected_dx(static_cast<size_t>(sx.numel()));
        const auto vx = x.to_vector(), vdy = dy.to_vector();
        for_each_pair(p, sx, sy, [&](int64_t iy, int64_t ix) {
          expected_y[static_cast<size_t>(iy)] = vx[static_cast<size_t>(ix)];
          expected_dx[static_cast<size_t>(ix)] += vdy[static_cast<size_t>(iy)];
        });
        EXPECT_EQ(y.to_vector(), expected_y);
        EXPECT_LE(max_error(dx, Tensor::from(expected_dx, sx)), dtype == DType::bf16 ? 2e-2 : 1e-6);
      }
}

TEST_P(Pad2dTest, DoesNotDependOnTheThreadCount) {
  const Pad2dParams p{3, 2, 1, 5, PadMode::reflect};
  const Tensor dy = random_tensor({3, 37, 38, 17});
  expect_same_with_two_threads([&] {
    Tensor dx = Tensor::empty({3, 32, 32, 17});
    kernels::pad2d_backward(p, dy.view(), dx.view());
    return dx;
  });
}

TEST(Pad2d, RefusesWhatHasNoMeaning) {
  const Tensor x = random_tensor({1, 3, 3, 1});
  auto run = [&](const Pad2dParams& p, const Shape& y) {
    kernels::pad2d_forward(p, x.view(), Tensor::empty(y).view());
  };
  EXPECT_THROW(run({.top = 3, .mode = PadMode::reflect}, {1, 6, 3, 1}), Error);
  EXPECT_THROW(run({.top = -1}, {1, 2, 3, 1}), Error);
  EXPECT_THROW(run({.top = 1}, {1, 3, 3, 1}), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, Pad2dTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
