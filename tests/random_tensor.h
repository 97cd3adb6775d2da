// Random tensors and comparisons for tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tensor/tensor.h"

namespace tw {

// Uniform in [-scale, scale].
inline Tensor random_tensor(const Shape& shape, DType dtype = DType::f32, unsigned seed = 0,
                            double scale = 1) {
  std::mt19937 generator(seed + 12345);
  std::uniform_real_distribution<double> uniform(-scale, scale);
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (double& value : values) value = uniform(generator);
  return Tensor::from(values, shape).to(dtype);
}

// max |a - b| / max(1, max |b|); shapes must agree.
inline double max_error(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) {
    ADD_FAILURE() << "shapes differ: " << a.shape() << " and " << b.shape();
    return INFINITY;
  }
  const std::vector<double> va = a.to_vector(), vb = b.to_vector();
  double error = 0, scale = 1;
  for (size_t i = 0; i < va.size(); ++i) {
    if (std::isnan(va[i]) || std::isnan(vb[i])) return INFINITY;
    error = std::max(error, std::abs(va[i] - vb[i]));
    scale = std::max(scale, std::abs(vb[i]));
  }
  return error / scale;
}

}  // namespace tw
