#include "kernels/op/sampler_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/thread_pool.h"
#include "kernels/op/predict_x0.h"
#include "tensor/error.h"
#include "tests/kernels/every_isa.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

using kernels::SamplerStep;
using SamplerStepTest = EveryIsa;

const SamplerStep step_a{.x0_from_x = 1.5,
                         .x0_from_output = -0.8,
                         .clip = 1,
                         .x0_scale = 0.7,
                         .next_from_x0 = 0.3,
                         .next_from_x = 0.6,
                         .next_from_output = -0.2,
                         .next_from_noise = 0.1,
                         .next_from_gradient = -0.4};
const SamplerStep step_b{.x0_from_x = 0.5, .x0_from_output = 0.9, .next_from_x0 = -1, .next_from_x = 0.25};

struct Case {
  Tensor x, output, noise, gradient;
  explicit Case(const Shape& shape, DType dtype = DType::f32)
      : x(random_tensor(shape, dtype, 1, 2)),
        output(random_tensor(shape, dtype, 2, 2)),
        noise(random_tensor(shape, dtype, 3, 2)),
        gradient(random_tensor(shape, dtype, 4, 2)) {}
};

// The formula, element by element, in f64.
void expect_step(const std::vector<SamplerStep>& steps, const Case& c, bool with_noise, bool with_gradient,
                 double tolerance) {
  Tensor x0 = Tensor::empty(c.x.shape(), c.x.dtype()), next = Tensor::empty(c.x.shape(), c.x.dtype());
  kernels::sampler_step(steps, {.x = c.x.view(),
                                .output = c.output.view(),
                                .noise = with_noise ? c.noise.view() : View{},
                                .gradient = with_gradient ? c.gradient.view() : View{},
                                .x0 = x0.view(),
                                .next = next.view()});
  const auto x = c.x.to_vector(), o = c.output.to_vector(), z = c.noise.to_vector(),
             g = c.gradient.to_vector();
  const auto found_x0 = x0.to_vector(), found = next.to_vector();
  const size_t per_sample = x.size() / static_cast<size_t>(c.x.dim(0));
  for (size_t i = 0; i < x.size(); ++i) {
    const SamplerStep& s = steps[steps.size() == 1 ? 0 : i / per_sample];
    const double clean =
        s.x0_scale * std::clamp(s.x0_from_x * x[i] + s.x0_from_output * o[i], -s.clip, s.clip);
    const double expected = s.next_from_x0 * clean + s.next_from_x * x[i] + s.next_from_output * o[i] +
                            (with_noise ? s.next_from_noise * z[i] : 0) +
                            (with_gradient ? s.next_from_gradient * g[i] : 0);
    ASSERT_NEAR(found_x0[i], clean, tolerance) << "x0 at " << i;
    ASSERT_NEAR(found[i], expected, tolerance) << "next at " << i;
  }
}

TEST_P(SamplerStepTest, MatchesTheFormula) {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 3}, Shape{3, 37, 41, 3}})
    for (bool noise : {false, true})
      for (bool gradient : {false, true}) {
        expect_step({step_a}, Case(shape), noise, gradient, 2e-6);
        expect_step({step_a}, Case(shape, DType::f64), noise, gradient, 1e-14);
        expect_step({step_a}, Case(shape, DType::bf16), noise, gradient, 2e-2);
      }
  expect_step({step_a, step_b, step_a}, Case({3, 37, 41, 3}), true, true, 2e-6);
}

TEST_P(SamplerStepTest, MayWriteOverItsInput) {
  const Case c({2, 9, 9, 3});
  Tensor next = Tensor::empty(c.x.shape()), in_place = c.x.clone();
  kernels::sampler_step(std::vector{step_a},
                        {c.x.view(), c.output.view(), c.noise.view(), {}, {}, next.view()});
  kernels::sampler_step(std::vector{step_a},
                        {in_place.view(), c.output.view(), c.noise.view(), {}, {}, in_place.view()});
  EXPECT_EQ(in_place.to_vector(), next.to_vector());
}

TEST_P(SamplerStepTest, APixelDependsNeitherOnThreadsNorOnTheBatch) {
  const Case c({5, 61, 53, 3});
  const auto run = [](const Tensor& x, const Tensor& o, const Tensor& z) {
    Tensor next = Tensor::empty(x.shape());
    kernels::sampler_step(std::vector{step_a}, {x.view(), o.view(), z.view(), {}, {}, next.view()});
    return next;
  };
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const std::vector<double> one = run(c.x, c.output, c.noise).to_vector();
  kernels::set_thread_count(2);
  const Tensor two = run(c.x, c.output, c.noise);
  kernels::set_thread_count(before);
  EXPECT_EQ(two.to_vector(), one);
  const auto third = [](const Tensor& t) { return t.slice(0, 2, 3).clone(); };
  EXPECT_EQ(run(third(c.x), third(c.output), third(c.noise)).to_vector(), third(two).to_vector());
}

TEST_P(SamplerStepTest, WritesNothingBesideItsOutputs) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (int64_t n : {1, 15, 4099}) {
      Tensor x0 = Tensor::full({1, n + 64}, 7, dtype), next = Tensor::full({1, n + 64}, 7, dtype);
      const auto inside = [n](const Tensor& t) { return t.slice(1, 32, 32 + n).view(); };
      const Case c({1, n}, dtype);
      kernels::sampler_step(std::vector{step_a},
                            {c.x.view(), c.output.view(), {}, {}, inside(x0), inside(next)});
      for (const Tensor& t : {x0, next})
        for (const Tensor& guard : {t.slice(1, 0, 32), t.slice(1, 32 + n, n + 64)})
          EXPECT_EQ(guard.to_vector(), std::vector<double>(32, 7.0));
    }
}

TEST_P(SamplerStepTest, NaNIsNotClippedAway) {
  Tensor x = Tensor::full({1, 20}, NAN), next = Tensor::empty({1, 20});
  kernels::sampler_step(std::vector{step_a}, {x.view(), x.view(), {}, {}, {}, next.view()});
  for (double value : next.to_vector()) EXPECT_TRUE(std::isnan(value));
}

TEST_P(SamplerStepTest, X0IsTheSameAloneAndItsGradientStopsAtTheClip) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Case c({2, 17, 19, 3}, dtype);
    const std::vector steps{step_a, step_b};
    Tensor x0 = Tensor::empty(c.x.shape(), dtype), next = x0.clone(), alone = x0.clone(), dx = x0.clone(),
           d_o = x0.clone();
    kernels::sampler_step(steps, {c.x.view(), c.output.view(), {}, {}, x0.view(), next.view()});
    kernels::predict_x0_forward(steps, c.x.view(), c.output.view(), alone.view());
    EXPECT_EQ(alone.to_vector(), x0.to_vector());

    kernels::predict_x0_backward(steps, c.x.view(), c.output.view(), c.gradient.view(), dx.view(),
                                 d_o.view());
    const auto x = c.x.to_vector(), o = c.output.to_vector(), g = c.gradient.to_vector();
    const auto found_x = dx.to_vector(), found_o = d_o.to_vector();
    int stopped = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const SamplerStep& s = steps[i / (x.size() / 2)];
      const double u = s.x0_from_x * x[i] + s.x0_from_output * o[i];
      if (std::abs(std::abs(u) - s.clip) < 1e-5) continue;
      const double passed = std::abs(u) <= s.clip ? s.x0_scale * g[i] : 0;
      stopped += passed == 0;
      const double tolerance = dtype == DType::bf16 ? 2e-2 : 1e-6;
      ASSERT_NEAR(found_x[i], s.x0_from_x * passed, tolerance);
      ASSERT_NEAR(found_o[i], s.x0_from_output * passed, tolerance);
    }
    EXPECT_GT(stopped, 100);
  }
}

TEST_P(SamplerStepTest, RefusesWhatDoesNotFit) {
  const Case c({2, 3}), d({3, 2});
  Tensor next = Tensor::empty({2, 3});
  EXPECT_THROW(
      kernels::sampler_step(std::vector{step_a}, {c.x.view(), d.output.view(), {}, {}, {}, next.view()}),
      Error);
  EXPECT_THROW(kernels::sampler_step(std::vector{step_a, step_a, step_a},
                                     {c.x.view(), c.output.view(), {}, {}, {}, next.view()}),
               Error);
  EXPECT_THROW(kernels::sampler_step({}, {c.x.view(), c.output.view(), {}, {}, {}, next.view()}), Error);
}

INSTANTIATE_TEST_SUITE_P(Isa, SamplerStepTest, every_isa(), isa_test_name);

}  // namespace
}  // namespace tw
