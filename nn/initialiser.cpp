#include "nn/initialiser.h"

#include <cmath>

#include "tensor/random.h"

namespace tw {
namespace {

// FNV-1a: the stream of a parameter is named, not numbered.
uint64_t hash(const std::string& name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

Initialiser Initialiser::fan_average(int64_t fan_in, int64_t fan_out, double gain) {
  if (gain == 0) return zeros();
  const double variance = gain * 2 / static_cast<double>(fan_in + fan_out);
  return {.kind = Kind::uniform, .scale = std::sqrt(3 * variance)};
}

Tensor initial_values(const Initialiser& initialiser, const Shape& shape, uint64_t seed,
                      const std::string& name) {
  if (initialiser.kind == Initialiser::Kind::zeros) return Tensor::zeros(shape);
  if (initialiser.kind == Initialiser::Kind::ones) return Tensor::full(shape, 1);
  Tensor values = Tensor::empty(shape);
  const std::span<float> span = values.span<float>();
  const RandomKey key{.seed = seed, .sample = hash(name), .step = 0, .purpose = Purpose::initialisation};
  const auto scale = static_cast<float>(initialiser.scale);
  if (initialiser.kind == Initialiser::Kind::normal) {
    fill_normal(span, key);
    for (float& v : span) v *= scale;
  } else {
    fill_uniform(span, key);
    for (float& v : span) v = (2 * v - 1) * scale;
  }
  return values;
}

}  // namespace tw
