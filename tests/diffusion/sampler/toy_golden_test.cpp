// DDPM and DDIM on the toy network against the results of diffusers, N = 10, T = 1000.
#include <gtest/gtest.h>

#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "tests/diffusion/toy.h"

namespace tw {
namespace {

void expect_sample(const SamplerTable& table, const std::vector<double>& expected, int draws,
                   double tolerance = 2e-5) {
  ToyNoise noise;
  const std::vector<double> x =
      sample(toy_network(table.timesteps()), table, noise.start(), noise).to_vector();
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(x[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << "element " << i;
  EXPECT_EQ(noise.draws, draws);
}

const std::vector<int64_t> leading = sampling_timesteps(Spacing::leading, 10, 1000);
const std::vector<int64_t> trailing = sampling_timesteps(Spacing::trailing, 10, 1000);

TEST(ToyGolden, DdpmFixedSmall) {
  expect_sample(ddpm_table(Schedule(), {.timesteps = leading}), {-0.345294, 0.357243, 0.605573, -0.157557},
                9);
}

TEST(ToyGolden, DdpmFixedLargeUnclipped) {
  expect_sample(
      ddpm_table(Schedule(),
                 {.timesteps = leading, .variance = Variance::fixed_large, .range = {.clip = false}}),
      {0.698955, -10.441656, 0.113222, 60.086128}, 9);
}

// Trailing ends at t = 99 > 0, so noise is drawn in the last step too.
TEST(ToyGolden, DdpmVelocityCosineTrailing) {
  expect_sample(ddpm_table(Schedule({.kind = BetaSchedule::squaredcos_cap_v2}),
                           {.timesteps = trailing, .prediction = Prediction::v}),
                {0.088262, 0.269948, 0.039513, -0.265233}, 10);
}

TEST(ToyGolden, DdimDeterministic) {
  expect_sample(ddim_table(Schedule(), {.timesteps = leading}), {0.734454, -0.335669, 0.160830, 0.758955}, 0);
}

TEST(ToyGolden, DdimUnclippedScaledLinearWithOffset) {
  const Schedule schedule({.kind = BetaSchedule::scaled_linear, .beta_start = 0.00085, .beta_end = 0.012});
  expect_sample(ddim_table(schedule, {.timesteps = sampling_timesteps(Spacing::leading, 10, 1000, 1),
                                      .set_alpha_to_one = false,
                                      .range = {.clip = false}}),
                {1.960057, -0.496796, 0.138216, 9.322749}, 0);
}

TEST(ToyGolden, DdimHalfStochasticTrailing) {
  expect_sample(ddim_table(Schedule(), {.timesteps = trailing, .eta = 0.5}),
                {-0.017959, 0.040574, 0.290264, 0.058998}, 10);
}

// With the default limit of 1 dynamic thresholding is a plain clamp to [-1, 1].
TEST(ToyGolden, DynamicThresholdingWithTheDefaultLimitIsAClamp) {
  expect_sample(ddpm_table(Schedule(), {.timesteps = leading, .range = {.clip = false, .dynamic = true}}),
                {-0.345294, 0.357243, 0.605573, -0.157557}, 9);
}

}  // namespace
}  // namespace tw
