// Where the normal draws of a sampler come from.
//
// A sampler draws a start x_T and then, in the steps that use noise, draw 0, 1, 2, ... in that order: the
// k-th draw, not the draw of step k (DDIM with eta = 0 draws nothing; DDPM draws nothing at t = 0).
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace tw {

class NoiseSource {
 public:
  virtual ~NoiseSource() = default;
  virtual Tensor start() = 0;          // x_T (n, h, w, c), unit variance
  virtual Tensor draw(int64_t k) = 0;  // z of the k-th draw, the same shape
  // The images' keys, of which draw k is the normal stream with step = k; empty if draws come from elsewhere.
  virtual std::vector<RandomKey> keys() const { return {}; }
};

// Philox normals keyed by each image's own seed: an image is the same whatever batch it is drawn in.
class SeededNoise : public NoiseSource {
 public:
  // image: (h, w, c); drawn on `device`, the same bits on each.
  SeededNoise(std::vector<uint64_t> seeds, const Shape& image, Device device = Device::cpu);
  Tensor start() override;
  Tensor draw(int64_t k) override;
  std::vector<RandomKey> keys() const override;

 private:
  std::vector<uint64_t> seeds_;
  Shape image_;
  Device device_;
};

// Draws that another program made: x_T (n, c, h, w) and noise (k, n, c, h, w), f32 or f64.
class InjectedNoise : public NoiseSource {
 public:
  // `noise` may be undefined when the sampler draws none. Throws when the shapes do not fit.
  InjectedNoise(Tensor x_T, Tensor noise);
  Tensor start() override;
  Tensor draw(int64_t k) override;  // throws when there are fewer than k + 1 draws

 private:
  Tensor x_T_, noise_;
};

// (n, c, h, w) <-> (n, h, w, c), as new contiguous tensors. Throw unless the rank is 4.
Tensor channels_last(const Tensor& nchw);
Tensor channels_first(const Tensor& nhwc);

}  // namespace tw
