#pragma once

#include <gtest/gtest.h>

#include "autograd/gradient_check.h"
#include "tests/random_tensor.h"

namespace tw {

inline void expect_gradients_match(const Function& f, const std::vector<Tensor>& inputs,
                                   double tolerance = 1e-7) {
  const GradientCheck result = check_gradients(f, inputs);
  EXPECT_LE(result.max_error, tolerance) << result.worst;
}

}  // namespace tw
