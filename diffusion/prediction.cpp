#include "diffusion/prediction.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace tw {

LinearInXAndOutput x0_of(Prediction prediction, double alpha_bar) {
  const double a = std::sqrt(alpha_bar), s = std::sqrt(1 - alpha_bar);
  if (prediction == Prediction::sample) return {0, 1};
  if (prediction == Prediction::v) return {a, -s};
  check(a > 0, "prediction",
        "epsilon gives no x0 at alpha_bar = 0 (zero terminal SNR); train with v_prediction");
  return {1 / a, -s / a};
}

LinearInXAndOutput epsilon_of(Prediction prediction, double alpha_bar) {
  const double a = std::sqrt(alpha_bar), s = std::sqrt(1 - alpha_bar);
  if (prediction == Prediction::epsilon) return {0, 1};
  if (prediction == Prediction::v) return {s, a};
  check(s > 0, "prediction", "sample gives no epsilon at alpha_bar = 1");
  return {1 / s, -a / s};
}

Target target_of(Prediction prediction, double alpha_bar) {
  if (prediction == Prediction::epsilon) return {0, 1};
  if (prediction == Prediction::sample) return {1, 0};
  return {-std::sqrt(1 - alpha_bar), std::sqrt(alpha_bar)};
}

std::vector<double> dynamic_thresholds(const Tensor& x0, const ImageRange& range) {
  check(x0.rank() >= 1 && x0.numel() > 0, "dynamic_thresholds", "needs at least one image, found ",
        x0.shape());
  check(range.ratio >= 0 && range.ratio <= 1, "dynamic_thresholds", "ratio must lie in [0, 1], found ",
        range.ratio);
  std::vector<double> thresholds;
  for (int64_t i = 0; i < x0.dim(0); ++i) {
    std::vector<double> magnitudes = x0.select(0, i).to_vector();
    for (double& m : magnitudes) m = std::abs(m);
    const double position = range.ratio * static_cast<double>(magnitudes.size() - 1);
    const auto below = magnitudes.begin() + static_cast<std::ptrdiff_t>(position);
    std::nth_element(magnitudes.begin(), below, magnitudes.end());
    const double low = *below;
    const double high = below + 1 == magnitudes.end() ? low : *std::min_element(below + 1, magnitudes.end());
    const double q = low + (high - low) * (position - std::floor(position));
    thresholds.push_back(std::min(std::max(q, 1.0), range.sample_max));
  }
  return thresholds;
}

const char* name_of(Prediction prediction) {
  switch (prediction) {
    case Prediction::epsilon:
      return "epsilon";
    case Prediction::sample:
      return "sample";
    case Prediction::v:
      break;
  }
  return "v_prediction";
}

Prediction prediction_from_name(const std::string& name) {
  if (name == "x0") return Prediction::sample;
  if (name == "v") return Prediction::v;
  for (Prediction p : {Prediction::epsilon, Prediction::sample, Prediction::v})
    if (name == name_of(p)) return p;
  fail("prediction", "expected epsilon, sample (x0) or v_prediction (v), found '", name, "'");
}

}  // namespace tw
