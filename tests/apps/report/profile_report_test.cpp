#include "apps/report/profile_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "kernels/op/copy.h"
#include "tensor/cuda_library.h"
#include "tensor/tensor.h"

namespace tw {
namespace {

using testing::HasSubstr;

TEST(ProfileReport, TableAndTraceNameTheOps) {
  kernels::Profile profile([] { return std::string("down.0"); });
  const Tensor x = Tensor::zeros({8, 4}), y = Tensor::zeros({8, 4});
  {
    const kernels::ProfileScope scope(profile);
    kernels::copy(x.view(), y.view());
    kernels::copy(x.view(), y.view());
  }
  ProfileRates rates;
  rates.cpu = {2, 100e9, {{1000, 40e9}}};
  const std::string table = profile_table(profile, 1.0, rates);
  EXPECT_THAT(table, HasSubstr("2 threads; peak 100 GFLOP/s"));
  EXPECT_THAT(table, HasSubstr("copy                                         2"));
  EXPECT_THAT(table, HasSubstr("(8, 4) f32\n"));
  EXPECT_THAT(table, HasSubstr("between ops"));

  const auto trace = nlohmann::json::parse(chrome_trace(profile, rates));
  ASSERT_EQ(trace["traceEvents"].size(), 2u);
  const auto& event = trace["traceEvents"][1];
  EXPECT_EQ(event["name"], "copy");
  EXPECT_EQ(event["ph"], "X");
  EXPECT_GE(event["ts"].get<double>(), trace["traceEvents"][0]["dur"].get<double>());
  EXPECT_EQ(event["args"]["place"], "down.0");
  EXPECT_EQ(event["args"]["shapes"], "(8, 4) f32");
}

TEST(ProfileReportCuda, OpsOnADeviceAreJudgedByItsRates) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  kernels::Profile profile;
  const Tensor x = Tensor::zeros({1000}, DType::bf16, Device::cuda);
  const Tensor y = Tensor::zeros({1000}, DType::bf16, Device::cuda);
  {
    const kernels::ProfileScope scope(profile);
    kernels::copy(x.view(), y.view());
  }
  ProfileRates rates;
  rates.cuda = {0, 100e9, {{1e9, 1e12}}, 500e9};
  const std::string table = profile_table(profile, 1.0, rates);
  EXPECT_THAT(table, HasSubstr("the CUDA device; products 100 GFLOP/s (f32), 500 (bf16); copies 1000 GB/s"));
  ASSERT_GT(profile.rows()[0].seconds, 0);
  const auto trace = nlohmann::json::parse(chrome_trace(profile, rates));
  const double share = trace["traceEvents"][0]["args"]["% of roofline"];
  EXPECT_NEAR(share, 100 * 4000 / 1e12 / profile.rows()[0].seconds, 1e-6 * share);
}

TEST(ProfileReport, OfNothing) {
  const kernels::Profile profile;
  EXPECT_THAT(profile_table(profile, 1.0, {}), HasSubstr("all ops"));
  EXPECT_EQ(nlohmann::json::parse(chrome_trace(profile, {}))["traceEvents"].size(), 0u);
}

}  // namespace
}  // namespace tw
