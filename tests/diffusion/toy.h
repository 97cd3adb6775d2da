// A network of one line and noise of one line, whose samples by the reference implementations are known.
#pragma once

#include <cmath>
#include <vector>

#include "diffusion/noise.h"
#include "diffusion/sampler/loop.h"

namespace tw {

// out[i] = f(x[i]) in f64, stored in x's dtype.
template <class F>
Tensor map_elements(const Tensor& x, F f) {
  std::vector<double> values = x.to_vector();
  for (double& v : values) v = f(v);
  return Tensor::from(values, x.shape()).to(x.dtype());
}

// net(x, t) = 0.9 tanh(x) + 0.05 sin(t / 100)
inline Denoiser toy_network(const std::vector<int64_t>& timesteps) {
  return [timesteps](const Var& x, int64_t step) {
    const double t = static_cast<double>(timesteps.at(static_cast<size_t>(step)));
    return Var(
        map_elements(x.value(), [t](double v) { return 0.9 * std::tanh(v) + 0.05 * std::sin(t / 100); }));
  };
}

// Draw k, element j: cos(1 + 0.7 k + 1.3 j). The start is (1, -0.5, 0.25, 2).
class ToyNoise : public NoiseSource {
 public:
  Tensor start() override { return Tensor::from(std::vector<float>{1, -0.5f, 0.25f, 2}, Shape{1, 2, 2, 1}); }
  Tensor draw(int64_t k) override {
    ++draws;
    std::vector<float> z;
    for (int j = 0; j < 4; ++j)
      z.push_back(static_cast<float>(std::cos(1 + 0.7 * static_cast<double>(k) + 1.3 * j)));
    return Tensor::from(z, Shape{1, 2, 2, 1});
  }
  int draws = 0;
};

}  // namespace tw
