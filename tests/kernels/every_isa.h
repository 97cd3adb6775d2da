// A test fixture that runs each TEST_P once for every instruction set of this processor.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/cpu/isa.h"

namespace tw {

class EveryIsa : public testing::TestWithParam<kernels::Isa> {
 protected:
  void SetUp() override {
    before_ = kernels::active_isa();
    kernels::set_active_isa(GetParam());
  }
  void TearDown() override { kernels::set_active_isa(before_); }

 private:
  kernels::Isa before_;
};

inline auto every_isa() { return testing::ValuesIn(kernels::supported_isas()); }
inline std::string isa_test_name(const testing::TestParamInfo<kernels::Isa>& info) {
  return kernels::isa_name(info.param);
}

}  // namespace tw
