#include "diffusion/sampler/loop.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/unary.h"
#include "diffusion/guidance.h"
#include "diffusion/sampler/ddim.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/cpu/thread_pool.h"
#include "tensor/error.h"
#include "tests/diffusion/toy.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

const std::vector<int64_t> steps = sampling_timesteps(Spacing::leading, 12, 1000);
const Denoiser network = [](const Var& x, int64_t) {
  return sub(scale(x, 0.9), scale(mul(x, square(x)), 0.05));
};

std::vector<SamplerTable> every_table() {
  return {ddpm_table(Schedule(), {.timesteps = steps}),
          ddpm_table(Schedule(), {.timesteps = steps, .range = {.dynamic = true, .sample_max = 1.5}}),
          ddim_table(Schedule(), {.timesteps = steps}),
          ddim_table(Schedule(), {.timesteps = steps, .eta = 0.7})};
}

TEST(SamplingLoop, ABatchOfEightIsEightBatchesOfOne) {
  const std::vector<uint64_t> seeds{3, 1, 4, 15, 9, 2, 6, 5};
  for (const SamplerTable& table : every_table()) {
    SeededNoise together(seeds, {5, 7, 3});
    const Tensor batch = sample(network, table, together.start(), together);
    for (int64_t i = 0; i < 8; ++i) {
      SeededNoise alone({seeds[static_cast<size_t>(i)]}, {5, 7, 3});
      EXPECT_EQ(sample(network, table, alone.start(), alone).to_vector(),
                batch.slice(0, i, i + 1).to_vector());
    }
  }
}

TEST(SamplingLoop, OneThreadIsTwoThreads) {
  const int before = kernels::thread_count();
  for (const SamplerTable& table : every_table()) {
    std::vector<std::vector<double>> results;
    for (int threads : {1, 2}) {
      kernels::set_thread_count(threads);
      SeededNoise noise({1, 2}, {45, 51, 3});
      results.push_back(sample(network, table, noise.start(), noise).to_vector());
    }
    EXPECT_EQ(results[0], results[1]);
  }
  kernels::set_thread_count(before);
}

TEST(SamplingLoop, DdimAtEtaOneIsDdpmWhereNothingIsClipped) {
  SeededNoise noise({1, 2, 3}, {4, 4, 3});
  const auto run = [&](const SamplerTable& table) {
    return sample(toy_network(steps), table, noise.start(), noise);
  };
  const Tensor ddpm = run(ddpm_table(Schedule(), {.timesteps = steps, .range = {.clip = false}}));
  const DdimParams eta_one{
      .timesteps = steps, .eta = 1, .previous = DdimPrevious::list, .range = {.clip = false}};
  EXPECT_LT(max_error(run(ddim_table(Schedule(), eta_one)), ddpm), 1e-5);
  // ... or where the noise is recomputed from the clipped image.
  DdimParams clipped = eta_one;
  clipped.range.clip = clipped.use_clipped_output = true;
  EXPECT_LT(
      max_error(run(ddim_table(Schedule(), clipped)), run(ddpm_table(Schedule(), {.timesteps = steps}))),
      1e-5);
  clipped.use_clipped_output = false;
  EXPECT_GT(
      max_error(run(ddim_table(Schedule(), clipped)), run(ddpm_table(Schedule(), {.timesteps = steps}))),
      1e-2);
}

TEST(SamplingLoop, TheObserverSeesEveryStep) {
  const SamplerTable table = ddpm_table(Schedule(), {.timesteps = steps});
  SeededNoise noise({9}, {4, 4, 3});
  std::vector<int64_t> seen;
  Tensor last_x0, first_x;
  const LoopOptions options{.observe = [&](const StepView& s) {
    seen.push_back(s.timestep);
    if (s.step == 0) first_x = s.x.clone();
    last_x0 = s.x0.clone();
    EXPECT_EQ(s.steps, 12);
    EXPECT_FALSE(s.loss.defined());
  }};
  const Tensor x_T = noise.start(), x = sample(network, table, x_T, noise, options);
  EXPECT_EQ(seen, steps);
  EXPECT_EQ(first_x.to_vector(), x_T.to_vector());
  EXPECT_LT(max_error(x, last_x0), 1e-6);  // the last step of DDPM is the predicted clean image
  EXPECT_EQ(sample(network, table, x_T, noise).to_vector(), x.to_vector()) << "observing changes nothing";
}

TEST(SamplingLoop, EveryStepRunsInsideTheScope) {
  SeededNoise noise({9}, {2, 2, 1});
  int calls = 0;
  bool inside = false;
  const Denoiser checked = [&](const Var& x, int64_t i) {
    EXPECT_TRUE(inside);
    return network(x, i);
  };
  sample(checked, ddpm_table(Schedule(), {.timesteps = steps}), noise.start(), noise,
         {.scope = [&](const std::function<void()>& body) {
           ++calls;
           inside = true;
           body();
           inside = false;
         }});
  EXPECT_EQ(calls, 12);
}

// With the whole variance range at one end, learned_range is fixed_small (o2 = -1) or fixed_large (o2 = 1).
TEST(SamplingLoop, LearnedRangeInterpolatesTheVariances) {
  for (double o2 : {-1.0, 1.0}) {
    const Denoiser two_halves = [o2](const Var& x, int64_t i) {
      return concat({network(x, i), Var(Tensor::full(x.shape(), o2))}, -1);
    };
    SeededNoise noise({4, 5}, {3, 3, 2});
    const Tensor learned =
        sample(two_halves, ddpm_table(Schedule(), {.timesteps = steps, .variance = Variance::learned_range}),
               noise.start(), noise);
    const Variance fixed = o2 < 0 ? Variance::fixed_small : Variance::fixed_large;
    const Tensor expected = sample(network, ddpm_table(Schedule(), {.timesteps = steps, .variance = fixed}),
                                   noise.start(), noise);
    EXPECT_LT(max_error(learned, expected), 1e-5);
  }
}

TEST(SamplingLoop, DynamicThresholdIsTheQuantileOfEachImage) {
  std::vector<double> values;
  for (int i = 0; i <= 200; ++i) values.push_back((i % 2 ? -1 : 1) * 0.02 * i);  // |x| = 0, 0.02, ..., 4
  const Tensor x0 = Tensor::from(values, Shape{1, 201});
  const ImageRange range{.dynamic = true, .ratio = 0.995, .sample_max = 10};
  EXPECT_NEAR(dynamic_thresholds(x0, range)[0], 3.98, 1e-12);
  EXPECT_NEAR(dynamic_thresholds(x0, {.dynamic = true, .ratio = 0.9975, .sample_max = 10})[0], 3.99, 1e-12);
  EXPECT_NEAR(dynamic_thresholds(x0, {.dynamic = true, .ratio = 0.1, .sample_max = 10})[0], 1, 1e-12);
  EXPECT_NEAR(dynamic_thresholds(x0, {.dynamic = true, .sample_max = 1.5})[0], 1.5, 1e-12);
}

TEST(SamplingLoop, DdimCanFollowTheListOrTheStride) {
  const std::vector<int64_t> linspace = sampling_timesteps(Spacing::linspace, 10, 1000);  // 999, 888, ...
  const Schedule s;
  const auto first = [&](DdimPrevious previous) {
    return ddim_table(s, {.timesteps = linspace, .previous = previous}).rows[0].update.next_from_x0;
  };
  EXPECT_NEAR(first(DdimPrevious::stride), s.signal(899), 1e-12);
  EXPECT_NEAR(first(DdimPrevious::list), s.signal(888), 1e-12);
}

TEST(SamplingLoop, InjectedNoiseIsChannelsFirstAndCounted) {
  const Tensor x_T = random_tensor({2, 3, 4, 5}), noise = random_tensor({3, 2, 3, 4, 5}, DType::f32, 1);
  InjectedNoise source(x_T, noise);
  EXPECT_EQ(source.start().shape(), (Shape{2, 4, 5, 3}));
  EXPECT_EQ(channels_first(source.start()).to_vector(), x_T.to_vector());
  EXPECT_EQ(channels_first(source.draw(2)).to_vector(), noise.select(0, 2).to_vector());
  EXPECT_THROW(source.draw(3), Error);
  EXPECT_THROW(InjectedNoise(x_T, random_tensor({3, 2, 3, 4, 4})), Error);
  EXPECT_THROW(InjectedNoise(x_T, {}).draw(0), Error);
}

TEST(SamplingLoop, RefusesTablesAndOutputsThatDoNotFit) {
  EXPECT_THROW(ddpm_table(Schedule(), {.timesteps = {}}), Error);
  EXPECT_THROW(ddpm_table(Schedule(), {.timesteps = {10, 10}}), Error);
  EXPECT_THROW(ddpm_table(Schedule(), {.timesteps = {1000}}), Error);
  EXPECT_THROW(ddim_table(Schedule(), {.timesteps = steps, .eta = -1}), Error);
  EXPECT_THROW(ddim_table(Schedule(), {.timesteps = steps, .eta = 30}), Error);
  SeededNoise noise({9}, {2, 2, 1});
  const Denoiser wide = [](const Var& x, int64_t) { return concat({x, x}, -1); };
  EXPECT_THROW(sample(wide, ddpm_table(Schedule(), {.timesteps = steps}), noise.start(), noise), Error);
  EXPECT_THROW(
      sample(network, ddpm_table(Schedule(), {.timesteps = steps, .variance = Variance::learned_range}),
             noise.start(), noise),
      Error);
}

TEST(ClassifierFreeGuidance, ExtrapolatesFromTheUnconditionalOutput) {
  int calls = 0;
  const auto constant = [&calls](double value) {
    return Denoiser([&calls, value](const Var& x, int64_t) {
      ++calls;
      return Var(Tensor::full(x.shape(), value));
    });
  };
  const Var x = Tensor::zeros({1, 1, 1, 2});
  EXPECT_EQ(classifier_free(constant(3), constant(1), 2)(x, 0).value().to_vector(),
            (std::vector<double>{5, 5}));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(classifier_free(constant(3), constant(1), 1)(x, 0).value().to_vector(),
            (std::vector<double>{3, 3}));
  EXPECT_EQ(classifier_free(constant(3), constant(1), 0)(x, 0).value().to_vector(),
            (std::vector<double>{1, 1}));
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace tw
