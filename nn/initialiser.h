// How a parameter gets its first values. Counter-based (tensor/random.h): element k of a parameter depends on
// the seed, the parameter's name and k only, so adding a layer leaves the others as they were.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/tensor.h"

namespace tw {

struct Initialiser {
  enum class Kind : uint8_t { zeros, ones, uniform, normal };
  Kind kind = Kind::zeros;
  double scale = 0;  // uniform: in [-scale, scale]; normal: the standard deviation

  static Initialiser zeros() { return {}; }
  static Initialiser ones() { return {.kind = Kind::ones}; }
  static Initialiser normal(double deviation) { return {.kind = Kind::normal, .scale = deviation}; }

  // Variance `gain` * 2 / (fan_in + fan_out), uniform: what Ho et al. use (with gain 0 before each sum, so
  // that every block starts as the identity). Glorot and Bengio 2010, eq. 16.
  static Initialiser fan_average(int64_t fan_in, int64_t fan_out, double gain = 1);
};

// A new tensor of the shape, f32.
Tensor initial_values(const Initialiser& initialiser, const Shape& shape, uint64_t seed,
                      const std::string& name);

}  // namespace tw
