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

// Two functions agree in their value and in the gradients of all their inputs.
inline void expect_same_function(const Function& f, const Function& reference,
                                 const std::vector<Tensor>& inputs, double tolerance) {
  std::vector<Var> leaves;
  for (const Tensor& input : inputs) leaves.push_back(Var::leaf(input));
  const Var y = f(leaves), expected = reference(leaves);
  EXPECT_LE(max_error(y.value(), expected.value()), tolerance) << "value";
  const Tensor dy = random_tensor(y.shape(), y.dtype(), 99);
  const std::vector<Tensor> gradients = grad({y}, leaves, {dy}), exact = grad({expected}, leaves, {dy});
  for (size_t i = 0; i < leaves.size(); ++i)
    EXPECT_LE(max_error(gradients[i], exact[i]), tolerance) << "gradient of input " << i;
}

}  // namespace tw
