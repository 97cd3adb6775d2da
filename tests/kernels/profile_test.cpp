#include "kernels/op/profile.h"

#include <gtest/gtest.h>

#include <thread>

#include "kernels/cpu/machine_rates.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/conv2d.h"
#include "kernels/op/copy.h"
#include "kernels/op/device_rates.h"
#include "kernels/op/unary.h"
#include "tensor/cuda_graph.h"
#include "tensor/cuda_library.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

using kernels::OpTimer;
using kernels::Profile;
using kernels::ProfileScope;

void convolve() {
  const Tensor x = Tensor::full({2, 6, 5, 4}, 1), w = Tensor::full({3, 3, 4, 8}, 1);
  const Tensor y = Tensor::empty({2, 6, 5, 8});
  const auto params = kernels::Conv2dParams::same(3);
  const Tensor workspace =
      Tensor::empty({kernels::conv2d_forward_workspace_bytes({params, x.shape(), w.shape()})}, DType::u8);
  kernels::conv2d_forward(params, x.view(), w.view(), {}, y.view(), workspace.view());
}

TEST(Profile, SaysWhatAConvolutionComputedAndMoved) {
  Profile profile;
  {
    const ProfileScope scope(profile);
    convolve();
    convolve();
  }
  convolve();  // outside: not recorded
  ASSERT_EQ(profile.rows().size(), 1u);
  const Profile::Row& row = profile.rows()[0];
  EXPECT_STREQ(row.op, "conv2d_forward");
  EXPECT_STRNE(row.method, "");
  EXPECT_EQ(row.shapes, "(2, 6, 5, 4) (3, 3, 4, 8) f32");
  EXPECT_EQ(row.count, 2);
  EXPECT_EQ(row.flops, 2 * 2.0 * (2 * 6 * 5 * 8) * (3 * 3 * 4));
  EXPECT_EQ(row.bytes, 2 * 4.0 * (2 * 6 * 5 * 4 + 3 * 3 * 4 * 8 + 2 * 6 * 5 * 8));
  EXPECT_GT(row.seconds, 0);
  ASSERT_EQ(profile.events().size(), 2u);
  EXPECT_GE(profile.events()[1].begin, profile.events()[0].begin + profile.events()[0].seconds);
  EXPECT_LE(row.seconds, profile.seconds());
}

TEST(Profile, AnOpInsideAnOpIsCountedOnce) {
  const Tensor y = Tensor::empty({16});
  Profile profile;
  const ProfileScope scope(profile);
  {
    const OpTimer outer("outer");
    kernels::fill(1, y.view());  // which calls copy
  }
  kernels::fill(1, y.view());
  ASSERT_EQ(profile.rows().size(), 2u);
  EXPECT_STREQ(profile.rows()[0].op, "outer");
  EXPECT_STREQ(profile.rows()[1].op, "fill");
  EXPECT_EQ(profile.rows()[1].bytes, 64);
}

TEST(Profile, AnErrorInAnOpLeavesTheScopeAsItWas) {
  const Tensor x = Tensor::zeros({4}), y = Tensor::zeros({5});
  Profile profile;
  const ProfileScope scope(profile);
  EXPECT_THROW(kernels::copy(x.view(), y.view()), Error);
  EXPECT_EQ(Profile::current(), &profile);
}

TEST(Profile, ScopesNestAndBelongToTheirThread) {
  Profile outer, inner;
  const OpTimer nothing("nobody records this");
  {
    const ProfileScope first(outer);
    {
      const ProfileScope second(inner);
      const OpTimer timer("in");
    }
    const OpTimer timer("out");
    std::thread([] { const OpTimer other("another thread"); }).join();
  }
  ASSERT_EQ(outer.rows().size(), 1u);
  EXPECT_STREQ(outer.rows()[0].op, "out");
  ASSERT_EQ(inner.rows().size(), 1u);
  EXPECT_EQ(Profile::current(), nullptr);
}

TEST(Profile, NamesPlacesAndKeepsAsManyEventsAsAsked) {
  Profile profile([] { return std::string("down.0/conv1"); }, 3);
  const ProfileScope scope(profile);
  for (int i = 0; i < 5; ++i) const OpTimer timer("op");
  EXPECT_EQ(profile.rows()[0].count, 5);
  ASSERT_EQ(profile.events().size(), 3u);
  EXPECT_EQ(profile.places()[profile.events()[2].place], "down.0/conv1");
  profile.restart();
  EXPECT_TRUE(profile.rows().empty());
  const OpTimer timer("again");
}

TEST(Profile, CountsWeightsThatWereGivenBackButNotAbsentOnes) {
  const Tensor x = Tensor::empty({8});
  View given_back;
  given_back.shape = {2, 3};
  Profile profile;
  {
    const ProfileScope scope(profile);
    const View vx = x.view(), absent;
    const OpTimer timer("op", vx, given_back, absent);
  }
  EXPECT_EQ(profile.rows()[0].shapes, "(8,) (2, 3) f32");
  EXPECT_EQ(profile.rows()[0].bytes, 4 * (8 + 6));
}

TEST(Profile, ChangesNoResult) {
  const Tensor x = Tensor::full({3, 1000}, 0.3), plain = Tensor::empty(x.shape()),
               timed = Tensor::empty(x.shape());
  const kernels::UnaryParams params{.kind = kernels::Unary::exp};
  kernels::unary_forward(params, x.view(), plain.view());
  Profile profile;
  const ProfileScope scope(profile);
  kernels::unary_forward(params, x.view(), timed.view());
  EXPECT_EQ(plain.to_vector(), timed.to_vector());
  EXPECT_STREQ(profile.rows()[0].op, "exp");
}

TEST(ProfileCuda, OpsOnADeviceAreTimedThere) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Tensor x = Tensor::zeros({2, 300}, DType::f32, Device::cuda);
  const Tensor y = Tensor::zeros({2, 300}, DType::f32, Device::cuda);
  Profile profile;
  {
    const ProfileScope scope(profile);
    kernels::copy(x.view(), y.view());
    kernels::copy(x.view(), y.view());
    const Tensor on_host = Tensor::zeros({3});
    kernels::fill(1, on_host.view());
  }
  ASSERT_EQ(profile.rows().size(), 2u);
  const Profile::Row& row = profile.rows()[0];
  EXPECT_EQ(row.device, Device::cuda);
  EXPECT_EQ(row.count, 2);
  EXPECT_EQ(row.bytes, 2 * 2 * 4.0 * 600);
  ASSERT_EQ(profile.events().size(), 3u);
  EXPECT_GT(profile.events()[0].seconds, 0);
  EXPECT_NEAR(row.seconds, profile.events()[0].seconds + profile.events()[1].seconds, 1e-12);
  EXPECT_GE(profile.events()[1].begin, profile.events()[0].begin + profile.events()[0].seconds);
  EXPECT_EQ(profile.rows()[1].device, Device::cpu);
  EXPECT_GT(profile.rows()[1].seconds, 0);
}

// A captured op does nothing now: it counts, without a time.
TEST(ProfileCuda, CapturedOpsCountAndHaveNoTime) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Tensor x = Tensor::zeros({300}, DType::f32, Device::cuda);
  const Tensor y = Tensor::zeros({300}, DType::f32, Device::cuda);
  Profile profile;
  CudaGraph graph;
  {
    const ProfileScope scope(profile);
    graph.capture([&] { kernels::copy(x.view(), y.view()); });
  }
  ASSERT_EQ(profile.rows().size(), 1u);
  EXPECT_EQ(profile.rows()[0].count, 1);
  EXPECT_EQ(profile.rows()[0].seconds, 0);
  EXPECT_EQ(profile.rows()[0].bytes, 2 * 4.0 * 300);
}

TEST(ProfileCuda, RatesOfADevice) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const kernels::MachineRates rates = kernels::measure_device_rates();
  EXPECT_EQ(rates.threads, 0);
  EXPECT_GT(rates.flops, 0);
  EXPECT_GT(rates.flops_16bit, 0);
  EXPECT_GT(rates.bandwidth(1e12), 0);
}

TEST(MachineRates, TheRooflineIsTheSlowerOfSumsAndBytes) {
  const kernels::MachineRates rates{2, 100e9, {{1000, 40e9}, {10000, 10e9}}};
  EXPECT_EQ(rates.bandwidth(2000), 40e9);
  EXPECT_EQ(rates.bandwidth(2001), 10e9);
  EXPECT_EQ(rates.bandwidth(1e9), 10e9);  // beyond the last level
  EXPECT_EQ(rates.least_seconds(100e9, 1e9), 1.0);
  EXPECT_EQ(rates.least_seconds(1e9, 100e9), 10.0);
  EXPECT_EQ(rates.least_seconds(100e9, 1e9, DType::bf16), 1.0);  // no rate of its own
  const kernels::MachineRates device{0, 100e9, {{1000, 40e9}}, 1000e9};
  EXPECT_EQ(device.least_seconds(500e9, 1e9, DType::bf16), 0.5);
  EXPECT_EQ(device.least_seconds(500e9, 1e9, DType::f32), 5.0);
}

TEST(MachineRates, AreMeasured) {
  const kernels::MachineRates rates = kernels::measure_machine_rates();
  EXPECT_EQ(rates.threads, kernels::thread_count());
  EXPECT_GT(rates.flops, 0);
  ASSERT_FALSE(rates.levels.empty());
  for (const auto& level : rates.levels) EXPECT_GT(level.bytes_per_second, 0);
}

}  // namespace
}  // namespace tw
