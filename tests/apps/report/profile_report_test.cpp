#include "apps/report/profile_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "kernels/op/copy.h"
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
  const kernels::MachineRates rates{2, 100e9, {{1000, 40e9}}};
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

TEST(ProfileReport, OfNothing) {
  const kernels::Profile profile;
  EXPECT_THAT(profile_table(profile, 1.0, {}), HasSubstr("all ops"));
  EXPECT_EQ(nlohmann::json::parse(chrome_trace(profile, {}))["traceEvents"].size(), 0u);
}

}  // namespace
}  // namespace tw
