// Peak signal-to-noise ratio: PSNR = 10 log10(range^2 / MSE), MSE over all pixels and channels of one image.
//
// A number without its definition cannot be compared: `definition` goes into every report beside the value.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace tw {

struct PsnrParams {
  double range = 2;  // maximum minus minimum of the data: 2 for [-1, 1], 1 for [0, 1], 255 for 8 bits
};

// a, b: (n, ...) of one shape, any floating dtype or u8. One value per image in f64; infinity where they are
// equal.
std::vector<double> psnr(const Tensor& a, const Tensor& b, const PsnrParams& params = {});

// "PSNR in dB: range 2, MSE over pixels and channels of each image, no crop, f64"
std::string definition(const PsnrParams& params);

}  // namespace tw
