#include "diffusion/noise.h"

#include <utility>

#include "tensor/error.h"
#include "tensor/random.h"

namespace tw {

SeededNoise::SeededNoise(std::vector<uint64_t> seeds, const Shape& image, Device device)
    : seeds_(std::move(seeds)), image_(image), device_(device) {
  check(!seeds_.empty(), "noise", "needs at least one seed");
}

Tensor SeededNoise::start() { return random_normal(image_, seeds_, 0, Purpose::start, device_); }

Tensor SeededNoise::draw(int64_t k) {
  return random_normal(image_, seeds_, static_cast<uint64_t>(k), Purpose::step, device_);
}

std::vector<RandomKey> SeededNoise::keys() const {
  std::vector<RandomKey> keys;
  for (const uint64_t seed : seeds_) keys.push_back({.seed = seed, .purpose = Purpose::step});
  return keys;
}

InjectedNoise::InjectedNoise(Tensor x_T, Tensor noise) : x_T_(std::move(x_T)), noise_(std::move(noise)) {
  check(x_T_.defined() && x_T_.rank() == 4, "injected noise", "x_T must be (n, c, h, w), found ",
        x_T_.shape());
  if (!noise_.defined()) return;
  check(noise_.rank() == 5, "injected noise", "noise must be (k, n, c, h, w), found ", noise_.shape());
  for (int i = 0; i < 4; ++i)
    check(noise_.dim(i + 1) == x_T_.dim(i), "injected noise", "noise ", noise_.shape(),
          " does not hold draws of the shape of x_T ", x_T_.shape());
}

Tensor InjectedNoise::start() { return channels_last(x_T_); }

Tensor InjectedNoise::draw(int64_t k) {
  const int64_t available = noise_.defined() ? noise_.dim(0) : 0;
  check(k >= 0 && k < available, "injected noise", "the sampler asks for draw ", k, ", but there are ",
        available);
  return channels_last(noise_.select(0, k));
}

Tensor channels_last(const Tensor& nchw) {
  check(nchw.rank() == 4, "channels_last", "expected (n, c, h, w), found ", nchw.shape());
  return nchw.permute({0, 2, 3, 1}).clone();
}

Tensor channels_first(const Tensor& nhwc) {
  check(nhwc.rank() == 4, "channels_first", "expected (n, h, w, c), found ", nhwc.shape());
  return nhwc.permute({0, 3, 1, 2}).clone();
}

}  // namespace tw
