// A Gaussian prior N(mu, v) per pixel has a network in closed form,
//   eps(x, t) = sqrt(1 - abar) (x - sqrt(abar) mu) / (abar v + 1 - abar),
// and makes the unclipped chain an affine function of x_T and of every draw. So one batch, in which each
// image receives one unit impulse (or none), gives the exact mean and variance of the samples.
#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "tests/diffusion/toy.h"

namespace tw {
namespace {

// Image 0 gets zeros only, image 1 starts at one, image 2 + k gets one in draw k.
class Impulses : public NoiseSource {
 public:
  explicit Impulses(int64_t draws) : n_(draws + 2) {}
  Tensor start() override { return impulse(1); }
  Tensor draw(int64_t k) override { return impulse(2 + k); }

 private:
  Tensor impulse(int64_t image) const {
    Tensor x = Tensor::zeros({n_, 1, 1, 1}, DType::f64);
    x.data<double>()[image] = 1;
    return x;
  }
  int64_t n_;
};

struct Moments {
  double mean = 0, variance = 0;
};

using Epsilon = std::function<double(double x, double abar)>;

Moments moments_of(const Schedule& schedule, const SamplerTable& table, const Epsilon& epsilon) {
  Impulses noise(static_cast<int64_t>(table.rows.size()));
  const Denoiser network = [&](const Var& x, int64_t step) {
    const double abar = schedule.alpha_bar(table.rows[static_cast<size_t>(step)].timestep);
    return Var(map_elements(x.value(), [&](double v) { return epsilon(v, abar); }));
  };
  const std::vector<double> x = sample(network, table, noise.start(), noise).to_vector();
  Moments m{.mean = x[0]};
  for (size_t i = 1; i < x.size(); ++i) m.variance += (x[i] - x[0]) * (x[i] - x[0]);
  return m;
}

Epsilon gaussian_prior(double mu, double v) {
  return [mu, v](double x, double abar) {
    return std::sqrt(1 - abar) * (x - std::sqrt(abar) * mu) / (abar * v + 1 - abar);
  };
}

// The exact score of the posterior of N(0, v) given y = x0 + sigma z: prior N(m, s2) with the posterior's
// moments.
Epsilon exact_posterior(double v, double y, double sigma) {
  const double s2 = 1 / (1 / v + 1 / (sigma * sigma));
  return gaussian_prior(s2 * y / (sigma * sigma), s2);
}

const std::vector<int64_t> all_steps = sampling_timesteps(Spacing::leading, 1000, 1000);
const Schedule schedule({.precision = TablePrecision::f64});
SamplerTable unclipped_ddpm(Variance variance) {
  return ddpm_table(schedule, {.timesteps = all_steps, .variance = variance, .range = {.clip = false}});
}

TEST(GaussianPrior, DdpmWithTheSmallVariance) {
  const struct {
    double v, mean, variance;
  } rows[] = {{1, 0.299988, 0.991067}, {.25, 0.299997, 0.246125}, {.01, 0.3000, 0.009275856}};
  for (const auto& row : rows) {
    const Moments m = moments_of(schedule, unclipped_ddpm(Variance::fixed_small), gaussian_prior(0.3, row.v));
    EXPECT_NEAR(m.mean, row.mean, 1e-6);
    EXPECT_NEAR(m.variance, row.variance, 1e-6);
  }
}

TEST(GaussianPrior, DdpmWithTheLargeVariance) {
  const struct { double v, variance; } rows[] = {{1, 0.999900}, {.25, 0.250752}, {.01, 0.010153738}};
  for (const auto& row : rows)
    EXPECT_NEAR(
        moments_of(schedule, unclipped_ddpm(Variance::fixed_large), gaussian_prior(0.3, row.v)).variance,
        row.variance, 1e-6);
}

TEST(GaussianPrior, DdpmWithTheExactConditionalScoreGivesThePosterior) {
  const Epsilon epsilon = exact_posterior(0.25, 0.4, 0.1);  // N(0.3846154, 0.0096154)
  const Moments small = moments_of(schedule, unclipped_ddpm(Variance::fixed_small), epsilon);
  EXPECT_NEAR(small.mean, 0.3846152, 1e-7);
  EXPECT_NEAR(small.variance, 0.0089055, 1e-7);
  EXPECT_NEAR(moments_of(schedule, unclipped_ddpm(Variance::fixed_large), epsilon).variance, 0.0097647, 1e-7);
}

// eta = 0 transports N(0, 1) along the probability flow, whose exact end is x = mu + sqrt(v) x_T to first
// order in the step; eta = 1 is the ancestral sampler with the small variance.
TEST(GaussianPrior, DdimApproachesTheFlowAndEqualsDdpmAtEtaOne) {
  for (double v : {1.0, 0.25, 0.01}) {
    const auto with_eta = [&](double eta) {
      return moments_of(schedule,
                        ddim_table(schedule, {.timesteps = all_steps, .eta = eta, .range = {.clip = false}}),
                        gaussian_prior(0.3, v));
    };
    const Moments flow = with_eta(0);
    EXPECT_NEAR(flow.mean, 0.3, 5e-3);
    EXPECT_NEAR(flow.variance, v, 0.04 * v);
    const Moments ancestral = with_eta(1);
    const Moments ddpm = moments_of(schedule, unclipped_ddpm(Variance::fixed_small), gaussian_prior(0.3, v));
    EXPECT_NEAR(ancestral.mean, ddpm.mean, 1e-12);
    EXPECT_NEAR(ancestral.variance, ddpm.variance, 1e-12);
  }
}

// DDIM's closed form on a Gaussian prior: the recursion of mean and gain written out from eq. 12 of the
// paper.
TEST(GaussianPrior, DdimMatchesItsRecursion) {
  const std::vector<int64_t> steps = sampling_timesteps(Spacing::leading, 50, 1000);
  const double mu = 0.3, v = 0.25, eta = 0.5;
  double mean = 0, variance = 1;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double abar = schedule.alpha_bar(steps[i]),
                 next = i + 1 < steps.size() ? schedule.alpha_bar(steps[i + 1]) : 1;
    const double gain = std::sqrt(1 - abar) / (abar * v + 1 - abar);  // eps = gain (x - sqrt(abar) mu)
    const double d = eta * std::sqrt((1 - next) / (1 - abar) * (1 - abar / next));
    const double per_eps = std::sqrt(std::max(1 - next - d * d, 0.0)) - std::sqrt(next * (1 - abar) / abar);
    const double per_x = std::sqrt(next / abar) + per_eps * gain;
    mean = per_x * mean - per_eps * gain * std::sqrt(abar) * mu;
    variance = per_x * per_x * variance + d * d;
  }
  const Moments m =
      moments_of(schedule, ddim_table(schedule, {.timesteps = steps, .eta = eta, .range = {.clip = false}}),
                 gaussian_prior(mu, v));
  EXPECT_NEAR(m.mean, mean, 1e-11);
  EXPECT_NEAR(m.variance, variance, 1e-11);
}

}  // namespace
}  // namespace tw
