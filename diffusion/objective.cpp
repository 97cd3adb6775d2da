#include "diffusion/objective.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/binary.h"
#include "autograd/ops/mse_loss.h"
#include "autograd/ops/reshape.h"
#include "autograd/ops/sum.h"
#include "tensor/error.h"
#include "tensor/random.h"
#include "tensor/transfer.h"

namespace tw {

double loss_weight(const ObjectiveParams& params, double snr) {
  if (params.weight == LossWeight::uniform) return 1;
  // What the squared error of the prediction is worth in squared errors of x0, times SNR.
  const double to_epsilon = params.prediction == Prediction::epsilon  ? 1
                            : params.prediction == Prediction::sample ? snr
                                                                      : snr / (snr + 1);
  if (params.weight == LossWeight::p2) return to_epsilon / std::pow(params.p2_k + snr, params.p2_gamma);
  return std::min(1.0, params.min_snr_gamma / snr) * to_epsilon;
}

NoiseDraw draw_noise(const Schedule& schedule, const ObjectiveParams& params, int64_t n, uint64_t seed,
                     uint64_t step, uint64_t first_sample) {
  NoiseDraw draw{.t = {}, .keys = {}, .coefficients = Tensor::empty({5, n})};
  for (int64_t i = 0; i < n; ++i) {
    RandomKey key{.seed = seed,
                  .sample = first_sample + static_cast<uint64_t>(i),
                  .step = step,
                  .purpose = Purpose::timestep};
    const int64_t t = static_cast<int64_t>(random_below(key, 0, static_cast<uint64_t>(schedule.steps())));
    key.purpose = Purpose::training_noise;
    draw.t.push_back(t);
    draw.keys.push_back(key);
    const Target target = target_of(params.prediction, schedule.alpha_bar(t));
    const double of_image[] = {schedule.signal(t), schedule.noise(t), target.from_x0, target.from_noise,
                               loss_weight(params, schedule.snr(t))};
    for (int64_t k = 0; k < 5; ++k)
      draw.coefficients.data<float>()[k * n + i] = static_cast<float>(of_image[k]);
  }
  return draw;
}

NoisedBatch mix_noise(Prediction prediction, const Tensor& x0, const Tensor& eps,
                      const Tensor& coefficients) {
  const NoGrad no_grad;
  const auto per_image = [&](int64_t k) {
    return Var(coefficients.select(0, k).reshape({x0.dim(0), 1, 1, 1}));
  };
  const auto mixed = [&](int64_t of_x0) {
    return (per_image(of_x0) * Var(x0) + per_image(of_x0 + 1) * Var(eps)).value();
  };
  NoisedBatch batch;
  batch.weight = coefficients.select(0, 4);
  batch.x_t = mixed(0);
  batch.target = prediction == Prediction::epsilon ? eps : prediction == Prediction::sample ? x0 : mixed(2);
  return batch;
}

NoisedBatch noise_batch(const Schedule& schedule, const ObjectiveParams& params, const Tensor& x0,
                        uint64_t seed, uint64_t step, uint64_t first_sample) {
  check(x0.rank() == 4 && x0.dtype() == DType::f32, "noise_batch", "expected f32 images (n, h, w, c), found ",
        dtype_name(x0.dtype()), " ", x0.shape());
  const NoiseDraw draw = draw_noise(schedule, params, x0.dim(0), seed, step, first_sample);
  const Tensor eps =
      random_normal(Shape(std::span(x0.shape().begin() + 1, x0.shape().end())), draw.keys, x0.device());
  NoisedBatch batch = mix_noise(params.prediction, x0, eps, to_device(draw.coefficients, x0.device()));
  batch.t = draw.t;
  batch.timesteps = Tensor::from(std::vector<float>(draw.t.begin(), draw.t.end()));
  return batch;
}

TrainingLoss training_loss(const NoisedBatch& batch, const Var& output) {
  check(output.shape() == batch.target.shape(), "training_loss", "the network returned ", output.shape(),
        ", the target is ", batch.target.shape());
  const DType dtype = output.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Var per_image = mse_per_sample(cast(output, dtype), batch.target.to(dtype));
  return {.loss = mean(mul(per_image, batch.weight.to(dtype))), .per_image = per_image.value()};
}

const char* name_of(LossWeight weight) {
  switch (weight) {
    case LossWeight::uniform:
      return "uniform";
    case LossWeight::min_snr:
      return "min_snr";
    case LossWeight::p2:
      break;
  }
  return "p2";
}

LossWeight loss_weight_from_name(const std::string& name) {
  for (LossWeight w : {LossWeight::uniform, LossWeight::min_snr, LossWeight::p2})
    if (name == name_of(w)) return w;
  fail("objective", "expected loss weight uniform, min_snr or p2, found '", name, "'");
}

}  // namespace tw
