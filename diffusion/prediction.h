// What a network's output o stands for, and how it becomes the clean image x0 and the noise eps.
//
//   with a = sqrt(alpha_bar_t), s = sqrt(1 - alpha_bar_t), x = a x0 + s eps:
//                       x0               eps
//   epsilon        (x - s o) / a          o
//   sample               o           (x - a o) / s
//   v                a x - s o         a o + s x          v = a eps - s x0 (Salimans & Ho 2022)
//
// All six are linear in (x, o), so a conversion is a pair of numbers; the samplers fold them into one pass.
#pragma once

#include <string>
#include <vector>

#include "kernels/op/sampler_step.h"
#include "tensor/tensor.h"

namespace tw {

enum class Prediction { epsilon, sample, v };

// The value from_x x + from_output o.
struct LinearInXAndOutput {
  double from_x = 0, from_output = 0;
};

// Throw when the conversion divides by zero: epsilon at alpha_bar = 0 (zero terminal SNR), sample at
// alpha_bar = 1.
LinearInXAndOutput x0_of(Prediction prediction, double alpha_bar);
LinearInXAndOutput epsilon_of(Prediction prediction, double alpha_bar);

// What the network is trained to return, as from_x0 x0 + from_noise eps.
struct Target {
  double from_x0 = 0, from_noise = 0;
};
Target target_of(Prediction prediction, double alpha_bar);

// How the predicted x0 is kept in the range of images, [-1, 1]. When `dynamic` is set, `clip` is ignored.
struct ImageRange {
  bool clip = true;
  double limit = 1;
  // Dynamic thresholding (Saharia et al. 2022): q = the `ratio` quantile of |x0| of each image, limited to
  // [1, sample_max]; x0 <- clamp(x0, -q, q) / q.
  bool dynamic = false;
  double ratio = 0.995;
  double sample_max = 1;
};

// The q of each image of x0 (n, ...), f32 or f64; linear interpolation between order statistics.
std::vector<double> dynamic_thresholds(const Tensor& x0, const ImageRange& range);

const char* name_of(Prediction prediction);  // diffusers' names: "epsilon", "sample", "v_prediction"
Prediction prediction_from_name(const std::string& name);  // also accepts "v" and "x0"; throws listing them

}  // namespace tw
