#include "diffusion/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "tensor/error.h"

namespace tw {
namespace {

void expect_relative(double found, double expected, double tolerance) {
  EXPECT_NEAR(found, expected, tolerance * std::abs(expected));
}

TEST(Schedule, LinearTablesInF64) {
  const Schedule s({.precision = TablePrecision::f64});
  expect_relative(s.alpha_bar(0), 0.9999, 1e-12);
  expect_relative(s.alpha_bar(499), 0.07858724288, 1e-9);
  expect_relative(s.alpha_bar(999), 4.035829765e-5, 1e-9);
  expect_relative(1 / s.signal(999), 157.410457, 1e-8);
  const Posterior q500 = posterior(s.alpha_bar(500), s.alpha_bar(499));
  expect_relative(q500.from_x0, 0.003058057076, 1e-9);
  expect_relative(q500.from_x, 0.994104350757, 1e-11);
  const Posterior q1 = posterior(s.alpha_bar(1), s.alpha_bar(0));
  expect_relative(std::log(q1.variance), -9.816725135, 1e-9);
  EXPECT_EQ(s.alpha_bar(-1), 1);
}

// sigma[0] = sqrt((1 - abar) / abar) shows which table it is: 0.0100013297 in f32, 0.0100005000 in f64.
TEST(Schedule, TablePrecisionIsVisibleInTheFirstSigma) {
  const Schedule f32({.precision = TablePrecision::f32_diffusers}), f64({.precision = TablePrecision::f64});
  EXPECT_NEAR(1 / std::sqrt(f32.snr(0)), 0.0100013297, 2e-10);
  EXPECT_NEAR(1 / std::sqrt(f64.snr(0)), 0.0100005000, 5e-11);
  EXPECT_NEAR(1 / std::sqrt(f32.snr(999)), 157.40726, 5e-4);
}

TEST(Schedule, EveryKindDescendsFromOneToZero) {
  for (BetaSchedule kind :
       {BetaSchedule::linear, BetaSchedule::scaled_linear, BetaSchedule::squaredcos_cap_v2,
        BetaSchedule::sigmoid, BetaSchedule::sigmoid_alpha_bar}) {
    for (TablePrecision precision : {TablePrecision::f32_diffusers, TablePrecision::f64}) {
      const Schedule s({.kind = kind, .precision = precision});
      for (int64_t t = 0; t < 1000; ++t)
        ASSERT_LT(s.alpha_bar(t), s.alpha_bar(t - 1)) << name_of(kind) << " " << t;
      EXPECT_GT(s.alpha_bar(0), 0.999) << name_of(kind);
      EXPECT_LT(s.alpha_bar(999), 1e-3) << name_of(kind);
    }
    EXPECT_EQ(beta_schedule_from_name(name_of(kind)), kind);
  }
}

TEST(Schedule, CosineFollowsItsFormula) {
  const Schedule s({.kind = BetaSchedule::squaredcos_cap_v2, .precision = TablePrecision::f64});
  const auto f = [](double u) { return std::pow(std::cos((u + 0.008) / 1.008 * M_PI / 2), 2); };
  for (int64_t t : {0, 100, 500, 900}) expect_relative(s.alpha_bar(t), f((t + 1) / 1000.0) / f(0), 1e-11);
  EXPECT_EQ(s.beta(999), 0.999);
}

TEST(Schedule, SigmoidOfAlphaBarFollowsItsFormula) {
  const Schedule s({.kind = BetaSchedule::sigmoid_alpha_bar, .precision = TablePrecision::f64});
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t t : {0, 400, 998})
    expect_relative(s.alpha_bar(t),
                    (sigmoid(3) - sigmoid(6 * (t + 1) / 1000.0 - 3)) / (sigmoid(3) - sigmoid(-3)), 1e-10);
}

TEST(Schedule, DiffusersSigmoidAndScaledLinearFollowTheirFormulas) {
  const Schedule g({.kind = BetaSchedule::sigmoid, .precision = TablePrecision::f64});
  EXPECT_NEAR(g.beta(0), 1 / (1 + std::exp(6)) * (0.02 - 1e-4) + 1e-4, 1e-15);
  const Schedule l({.kind = BetaSchedule::scaled_linear,
                    .beta_start = 0.00085,
                    .beta_end = 0.012,
                    .precision = TablePrecision::f64});
  EXPECT_NEAR(l.beta(0), 0.00085, 1e-15);
  EXPECT_NEAR(l.beta(999), 0.012, 1e-15);
  EXPECT_NEAR(std::sqrt(l.beta(333)),
              std::sqrt(0.00085) + (std::sqrt(0.012) - std::sqrt(0.00085)) * 333 / 999, 1e-15);
}

TEST(Schedule, OpenAiScalesTheEndpointsWithTheNumberOfSteps) {
  const Schedule s({.steps = 250, .scale_endpoints = true, .precision = TablePrecision::f64});
  EXPECT_NEAR(s.beta(0), 4e-4, 1e-15);
  EXPECT_NEAR(s.beta(249), 0.08, 1e-15);
}

TEST(Schedule, ZeroTerminalSnrEndsAtZeroAndKeepsTheStart) {
  for (TablePrecision precision : {TablePrecision::f32_diffusers, TablePrecision::f64}) {
    const Schedule plain({.precision = precision}), zero({.zero_terminal_snr = true, .precision = precision});
    EXPECT_EQ(zero.alpha_bar(999), 0);
    EXPECT_NEAR(zero.alpha_bar(0), plain.alpha_bar(0), 1e-6);
    EXPECT_THROW(ddpm_table(zero, {.timesteps = {999, 0}, .prediction = Prediction::epsilon}), Error);
    EXPECT_NO_THROW(ddpm_table(zero, {.timesteps = {999, 0}, .prediction = Prediction::v}));
  }
}

TEST(Schedule, RefusesWhatIsNotASchedule) {
  EXPECT_THROW(Schedule({.steps = 0}), Error);
  EXPECT_THROW(Schedule({.beta_end = 1.5}), Error);
  EXPECT_THROW(Schedule().alpha_bar(1000), Error);
  EXPECT_THROW(Schedule().alpha_bar(-2), Error);
  EXPECT_THROW(beta_schedule_from_name("quadratic"), Error);
  EXPECT_EQ(Schedule({.trained_betas = {0.1, 0.2}}).steps(), 2);
}

using Steps = std::vector<int64_t>;

TEST(Timesteps, MatchTheReferenceGrids) {
  EXPECT_EQ(sampling_timesteps(Spacing::leading, 10, 1000),
            (Steps{900, 800, 700, 600, 500, 400, 300, 200, 100, 0}));
  EXPECT_EQ(sampling_timesteps(Spacing::leading, 10, 1000, 1),
            (Steps{901, 801, 701, 601, 501, 401, 301, 201, 101, 1}));
  EXPECT_EQ(sampling_timesteps(Spacing::trailing, 10, 1000),
            (Steps{999, 899, 799, 699, 599, 499, 399, 299, 199, 99}));
  EXPECT_EQ(sampling_timesteps(Spacing::linspace, 10, 1000),
            (Steps{999, 888, 777, 666, 555, 444, 333, 222, 111, 0}));
  // Half to even: linspace(0, 999, 3) has 499.5 in the middle.
  EXPECT_EQ(sampling_timesteps(Spacing::linspace, 3, 1000), (Steps{999, 500, 0}));
}

// The reference's floating-point range gives one entry too many, -1, for some N, 61 and 103 among them.
TEST(Timesteps, EveryCountGivesExactlyThatManyDescendingSteps) {
  for (int64_t count = 1; count <= 1000; ++count)
    for (Spacing spacing : {Spacing::leading, Spacing::linspace, Spacing::trailing}) {
      const Steps steps = sampling_timesteps(spacing, count, 1000);
      ASSERT_EQ(steps.size(), static_cast<size_t>(count));
      ASSERT_NO_THROW(check_descending("test", steps)) << name_of(spacing) << " " << count;
      ASSERT_GE(steps.back(), 0);
    }
}

TEST(Timesteps, RefuseWhatDoesNotFit) {
  EXPECT_THROW(sampling_timesteps(Spacing::leading, 0, 1000), Error);
  EXPECT_THROW(sampling_timesteps(Spacing::leading, 1001, 1000), Error);
  EXPECT_THROW(sampling_timesteps(Spacing::leading, 1000, 1000, 1), Error);
  EXPECT_THROW(spacing_from_name("karras"), Error);
  EXPECT_EQ(spacing_from_name("trailing"), Spacing::trailing);
}

}  // namespace
}  // namespace tw
