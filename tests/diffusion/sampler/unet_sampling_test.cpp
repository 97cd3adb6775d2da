// Sampling and guided sampling with a small U-Net: what holds for a formula must hold for a network.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/binary.h"
#include "autograd/ops/concat.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/unary.h"
#include "diffusion/inverse/dps.h"
#include "diffusion/inverse/mask.h"
#include "diffusion/sampler/ddpm.h"
#include "diffusion/timesteps.h"
#include "kernels/cpu/thread_pool.h"
#include "nn/unet/unet.h"
#include "tests/small_unet.h"

namespace tw {
namespace {

class UNetSampling : public testing::Test {
 protected:
  UNetSampling() {
    // Random weights everywhere: the initialiser leaves the last convolutions at zero.
    unsigned seed = 0;
    for (Parameter& p : net_.parameters())
      p.value.mutable_value().copy_from(random_tensor(p.value.shape(), DType::f32, ++seed, 0.2));
    net_.freeze();
  }

  Denoiser network() {
    return [this](const Var& x, int64_t step) {
      const double t = static_cast<double>(table_.rows[static_cast<size_t>(step)].timestep);
      return net_.forward(x, Tensor::full({x.dim(0)}, t));
    };
  }
  Tensor plain(const std::vector<uint64_t>& seeds, const LoopOptions& options = {}) {
    SeededNoise noise(seeds, {16, 16, 3});
    return sample(network(), table_, noise.start(), noise, options);
  }
  Tensor guided(const std::vector<uint64_t>& seeds, const LoopOptions& options = {}) {
    SeededNoise noise(seeds, {16, 16, 3});
    const auto mask = std::make_shared<Mask>(box_mask(16, 16, 4, 4, 8, 8));
    const Tensor one = random_tensor({1, 16, 16, 3}, DType::f32, 77);
    const Tensor y = mask->apply(one.broadcast_to({static_cast<int64_t>(seeds.size()), 16, 16, 3}).clone());
    return dps(network(), table_, *mask, y, {.scale = 0.5}, noise.start(), noise, options);
  }

  UNet net_{UNetConfig{.resolution = 16,
                       .base = 16,
                       .multipliers = {1, 2},
                       .blocks = 1,
                       .attention_resolutions = {8},
                       .groups = 8}};
  const SamplerTable table_ =
      ddpm_table(Schedule(), {.timesteps = sampling_timesteps(Spacing::trailing, 5, 1000)});
  const std::vector<uint64_t> seeds_{3, 1, 4, 15, 9, 2, 6, 5};
};

TEST_F(UNetSampling, ABatchOfEightIsEightBatchesOfOne) {
  const Tensor samples = plain(seeds_), restored = guided(seeds_);
  for (int64_t i : {0, 3, 7}) {
    const uint64_t seed = seeds_[static_cast<size_t>(i)];
    EXPECT_EQ(plain({seed}).to_vector(), samples.slice(0, i, i + 1).to_vector()) << "sample " << i;
    EXPECT_EQ(guided({seed}).to_vector(), restored.slice(0, i, i + 1).to_vector()) << "restoration " << i;
  }
  EXPECT_GT(max_error(samples, restored), 1e-2);
}

TEST_F(UNetSampling, OneThreadIsTwoThreads) {
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const auto samples = plain({1, 2, 3}).to_vector(), restored = guided({1}).to_vector();
  kernels::set_thread_count(2);
  EXPECT_EQ(plain({1, 2, 3}).to_vector(), samples);
  EXPECT_EQ(guided({1}).to_vector(), restored);
  kernels::set_thread_count(before);
}

TEST_F(UNetSampling, APlannedLoopGivesTheSameImagesInLessMemory) {
  for (bool with_gradient : {false, true}) {
    const auto arena = std::make_shared<PlannedArena>();
    const LoopOptions planned{.scope = planned_steps(arena)};
    const Tensor expected = with_gradient ? guided({1, 2}) : plain({1, 2});
    const Tensor found = with_gradient ? guided({1, 2}, planned) : plain({1, 2}, planned);
    EXPECT_EQ(found.to_vector(), expected.to_vector());
    ASSERT_TRUE(arena->planned());
    EXPECT_LT(arena->arena_bytes(), arena->sum_bytes());
  }
}

// At t = 0 nothing is drawn, and a learned variance is not asked for: the plan of the other steps fits
// nevertheless.
TEST(UNetSamplingWithLearnedVariance, ItsLastStepIsPlannedToo) {
  const auto network = small_unet(6);
  network->freeze();
  for (const Variance variance : {Variance::learned_range, Variance::learned}) {
    const SamplerTable table = ddpm_table(
        Schedule(), {.timesteps = sampling_timesteps(Spacing::leading, 5, 1000), .variance = variance});
    // A positive variance, as LearnedVariance::direct needs; at t = 0 none at all.
    const Denoiser denoiser = [&](const Var& x, int64_t step) {
      const int64_t t = table.rows[static_cast<size_t>(step)].timestep;
      const Var output = network->forward(x, Tensor::full({x.dim(0)}, static_cast<double>(t)));
      return concat({slice(output, -1, 0, 3), scale(square(slice(output, -1, 3, 6)), t > 0 ? 0.01 : -1.0)},
                    -1);
    };
    const auto mask = std::make_shared<Mask>(box_mask(8, 8, 2, 2, 4, 4));
    const Tensor y = mask->apply(random_tensor({2, 8, 8, 3}, DType::f32, 77));
    for (const bool guided : {false, true}) {
      const auto run = [&](const LoopOptions& options) {
        SeededNoise noise({3, 14}, {8, 8, 3});
        return guided ? dps(denoiser, table, *mask, y, {.scale = 0.5}, noise.start(), noise, options)
                      : sample(denoiser, table, noise.start(), noise, options);
      };
      const Tensor expected = run({}),
                   found = run({.scope = planned_steps(std::make_shared<PlannedArena>())});
      EXPECT_EQ(found.to_vector(), expected.to_vector());
      for (const double value : found.to_vector()) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

}  // namespace
}  // namespace tw
