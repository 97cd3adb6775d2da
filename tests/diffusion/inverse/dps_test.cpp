#include "diffusion/inverse/dps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/ops/binary.h"
#include "autograd/ops/unary.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/diffusion/toy.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

const std::vector<int64_t> all_steps = sampling_timesteps(Spacing::leading, 1000, 1000);
const Schedule schedule({.precision = TablePrecision::f64});

// The network of a prior N(0, v) per pixel: eps = sqrt(1 - abar) / (abar v + 1 - abar) x.
Denoiser gaussian_prior(double v) {
  return [v](const Var& x, int64_t step) {
    const double abar = schedule.alpha_bar(all_steps[static_cast<size_t>(step)]);
    return scale(x, std::sqrt(1 - abar) / (abar * v + 1 - abar));
  };
}

std::shared_ptr<Mask> identity(int64_t h, int64_t w) {
  return std::make_shared<Mask>(Tensor::full({h, w, 1}, 1));
}

class NoNoise : public NoiseSource {
 public:
  explicit NoNoise(Shape shape) : shape_(shape) {}
  Tensor start() override { return Tensor::zeros(shape_); }
  Tensor draw(int64_t) override { return Tensor::zeros(shape_); }

 private:
  Shape shape_;
};

// Two pixels, no noise: every number comes from a double-precision recursion of the algorithm. In f32 the
// first x0 is a difference of four roundings, each multiplied by 157: 4 * 157 * 2^-24 = 3.8e-5. From then on
// the clamp holds.
void expect_trace(DType dtype, double tolerance, double first_loss_tolerance) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = all_steps});
  const Tensor x_T = Tensor::from(std::vector<double>{1, -0.5}, Shape{1, 1, 2, 1}).to(dtype);
  const Tensor y = Tensor::from(std::vector<double>{0.4, -0.2}, Shape{1, 1, 2, 1}).to(dtype);
  NoNoise noise(x_T.shape());
  std::vector<std::vector<double>> x_before(1001);
  double first_loss = 0;
  const LoopOptions options{.observe = [&](const StepView& s) {
    x_before[static_cast<size_t>(s.timestep)] = s.x.to_vector();
    if (s.step == 0) first_loss = s.loss.item();
  }};
  const std::vector<double> x =
      dps(gaussian_prior(0.25), table, *identity(1, 2), y, {.scale = 0.01}, x_T, noise, options).to_vector();
  const auto expect = [tolerance](const std::vector<double>& found, double a, double b) {
    EXPECT_NEAR(found[0], a, tolerance);
    EXPECT_NEAR(found[1], b, tolerance);
  };
  EXPECT_NEAR(first_loss, 0.445437875, first_loss_tolerance);
  expect(x_before[998], 0.989963, -0.494982);
  expect(x_before[499], 0.075299, -0.037649);
  expect(x_before[249], 0.241753, -0.120876);
  expect(x, 0.406547, -0.203273);
}
TEST(Dps, FollowsTheDeterministicTraceInF64) { expect_trace(DType::f64, 1e-6, 1e-8); }
TEST(Dps, FollowsTheDeterministicTraceInF32) { expect_trace(DType::f32, 1e-5, 3.8e-5); }

// The squared residual keeps the chain affine, so unit impulses give the exact moments (they are not the
// posterior's: DPS is biased, and collapses for large steps).
TEST(Dps, WithTheSquaredResidualHasTheMomentsOfItsRecursion) {
  class Impulses : public NoiseSource {
   public:
    Tensor start() override { return impulse(1); }
    Tensor draw(int64_t k) override { return impulse(2 + k); }
    static Tensor impulse(int64_t image) {
      Tensor x = Tensor::zeros({1002, 1, 1, 1}, DType::f64);
      x.data<double>()[image] = 1;
      return x;
    }
  } noise;
  const struct {
    double scale, mean, variance, tolerance;
  } rows[] = {{.001, .0886853, .1721090, 1e-7},
              {.01, .3678446, .0147173, 1e-7},
              {.05, .3999990, 6.654e-4, 1e-7},
              {.3, .4, 1.149e-5, 1e-8}};
  const SamplerTable table = ddpm_table(schedule, {.timesteps = all_steps, .range = {.clip = false}});
  const Tensor y = Tensor::full({1002, 1, 1, 1}, 0.4, DType::f64);
  for (const auto& row : rows) {
    const std::vector<double> x =
        dps(gaussian_prior(0.25), table, *identity(1, 1), y,
            {.scale = row.scale, .residual = kernels::ResidualKind::squared}, noise.start(), noise)
            .to_vector();
    double variance = 0;
    for (double value : x) variance += (value - x[0]) * (value - x[0]);
    EXPECT_NEAR(x[0], row.mean, 1e-7) << "scale " << row.scale;
    EXPECT_NEAR(variance, row.variance, row.tolerance) << "scale " << row.scale;
  }
}

// One step's gradient against central differences of l(x_t), through the mask, the clamp and the network.
TEST(Dps, TheGradientOfAStepMatchesFiniteDifferences) {
  const SamplerTable one_step = ddpm_table(schedule, {.timesteps = {300}});
  const Denoiser network = [](const Var& x, int64_t) { return mul(scale(x, 0.4), square(x)); };
  const Tensor x_T = random_tensor({1, 3, 3, 2}, DType::f64, 1, 0.8),
               y = random_tensor({1, 3, 3, 2}, DType::f64, 2, 0.5);
  const auto mask = std::make_shared<Mask>(box_mask(3, 3, 1, 1, 1, 2));
  double loss = 0;
  NoNoise noise(x_T.shape());
  const auto run = [&](const Tensor& x, double scale) {
    return dps(network, one_step, *mask, y, {.scale = scale}, x, noise,
               {.observe = [&](const StepView& s) { loss = s.loss.item(); }})
        .to_vector();
  };
  const std::vector<double> unguided = run(x_T, 0), guided = run(x_T, 1);
  for (int64_t i = 0; i < x_T.numel(); ++i) {
    constexpr double h = 1e-6;
    Tensor shifted = x_T.clone();
    shifted.data<double>()[i] += h;
    run(shifted, 0);
    const double above = loss;
    shifted.data<double>()[i] -= 2 * h;
    run(shifted, 0);
    const size_t k = static_cast<size_t>(i);
    EXPECT_NEAR(unguided[k] - guided[k], (above - loss) / (2 * h), 1e-8) << "element " << i;
  }
}

TEST(Dps, ABatchOfEightIsEightBatchesOfOne) {
  const std::vector<int64_t> steps = sampling_timesteps(Spacing::leading, 20, 1000);
  const SamplerTable table = ddpm_table(Schedule(), {.timesteps = steps});
  const Denoiser network = [](const Var& x, int64_t) { return scale(mul(x, square(x)), 0.3); };
  const auto mask = std::make_shared<Mask>(random_mask(5, 7, 0.4, 3));
  const std::vector<uint64_t> seeds{3, 1, 4, 15, 9, 2, 6, 5};
  const Tensor y = mask->apply(random_tensor({8, 5, 7, 3}, DType::f32, 5));
  SeededNoise together(seeds, {5, 7, 3});
  const Tensor batch = dps(network, table, *mask, y, {.scale = 0.5}, together.start(), together);
  for (int64_t i = 0; i < 8; ++i) {
    SeededNoise alone({seeds[static_cast<size_t>(i)]}, {5, 7, 3});
    const Tensor single =
        dps(network, table, *mask, y.slice(0, i, i + 1).clone(), {.scale = 0.5}, alone.start(), alone);
    EXPECT_EQ(single.to_vector(), batch.slice(0, i, i + 1).to_vector()) << "image " << i;
  }
}

TEST(Dps, OneThreadIsTwoThreads) {
  const SamplerTable table =
      ddpm_table(Schedule(), {.timesteps = sampling_timesteps(Spacing::leading, 5, 1000)});
  const Denoiser network = [](const Var& x, int64_t) { return scale(mul(x, square(x)), 0.3); };
  const auto mask = std::make_shared<Mask>(random_mask(45, 51, 0.4, 3));
  const Tensor y = mask->apply(random_tensor({2, 45, 51, 3}, DType::f32, 5));
  const int before = kernels::thread_count();
  std::vector<std::vector<double>> results;
  for (int threads : {1, 2}) {
    kernels::set_thread_count(threads);
    SeededNoise noise({1, 2}, {45, 51, 3});
    results.push_back(dps(network, table, *mask, y, {.scale = 0.5}, noise.start(), noise).to_vector());
  }
  kernels::set_thread_count(before);
  EXPECT_EQ(results[0], results[1]);
}

TEST(Dps, AnExactFitHasNoGradient) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = {500}});
  const Denoiser zero = [](const Var& x, int64_t) { return scale(x, 0); };
  NoNoise noise({1, 1, 1, 1});
  const double x0 = 0.1 / schedule.signal(500);
  const Tensor x_T = Tensor::full({1, 1, 1, 1}, 0.1, DType::f64),
               y = Tensor::full({1, 1, 1, 1}, x0, DType::f64);
  double loss = 1;
  const Tensor x = dps(zero, table, *identity(1, 1), y, {.scale = 1}, x_T, noise,
                       {.observe = [&](const StepView& s) { loss = s.loss.item(); }});
  EXPECT_NEAR(loss, 0, 1e-15);
  EXPECT_TRUE(std::isfinite(x.item()));
}

TEST(Dps, ANonFiniteResidualIsANumericError) {
  const SamplerTable table = ddpm_table(schedule, {.timesteps = {500}});
  const Denoiser broken = [](const Var& x, int64_t) {
    return scale(x, std::numeric_limits<double>::quiet_NaN());
  };
  NoNoise noise({1, 1, 1, 1});
  try {
    dps(broken, table, *identity(1, 1), Tensor::zeros({1, 1, 1, 1}), {}, Tensor::full({1, 1, 1, 1}, 1),
        noise);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numeric);
    EXPECT_NE(std::string(error.what()).find("timestep 500"), std::string::npos);
  }
}

}  // namespace
}  // namespace tw
