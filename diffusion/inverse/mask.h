// Inpainting: A x = m x with a mask m that is 1 where a pixel is known and 0 where it is missing. A is its
// own adjoint and its own pseudo-inverse; y keeps the shape of the image, with zeros (mid grey) in the hole.
#pragma once

#include <cstdint>

#include "diffusion/inverse/operator.h"

namespace tw {

class Mask : public LinearOperator {
 public:
  // known: (h, w, 1) or (h, w, c), of 0 and 1 in any dtype. Throws when it holds anything else.
  // `device`: where the images will be.
  explicit Mask(const Tensor& known, Device device = Device::cpu);

  const char* name() const override { return "mask"; }
  using LinearOperator::apply;
  Tensor apply(const Tensor& x) const override;  // (n, h, w, c)
  Tensor adjoint(const Tensor& y) const override { return apply(y); }
  Tensor pseudo_inverse(const Tensor& y) const override { return apply(y); }

  const Tensor& known() const { return known_; }  // (h, w, 1) or (h, w, c), f32, on the host
  double known_fraction() const;

 private:
  Tensor known_, placed_;  // on the host, and where the images are
};

// Masks (h, w, 1) for the constructor above.
// A hole of (height, width) with its corner at (top, left). Throws when it leaves the image.
Tensor box_mask(int64_t h, int64_t w, int64_t top, int64_t left, int64_t height, int64_t width);
// Exactly round(missing h w) pixels are missing, chosen by the seed; 0 <= missing <= 1.
Tensor random_mask(int64_t h, int64_t w, double missing, uint64_t seed);
// From a picture (h, w, c) read from a file: known where the mean over the channels is at least `threshold`.
Tensor mask_from_image(const Tensor& picture, double threshold);

}  // namespace tw
