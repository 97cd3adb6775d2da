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

NoisedBatch noise_batch(const Schedule& schedule, const ObjectiveParams& params, const Tensor& x0,
                        uint64_t seed, uint64_t step, uint64_t first_sample) {
  check(x0.rank() == 4 && x0.dtype() == DType::f32, "noise_batch", "expected f32 images (n, h, w, c), found ",
        dtype_name(x0.dtype()), " ", x0.shape());
  const NoGrad no_grad;
  const int64_t n = x0.dim(0);
  NoisedBatch batch;
  std::vector<RandomKey> keys;
  std::vector<float> timesteps, weight, signal, sigma, from_x0, from_noise;
  for (int64_t i = 0; i < n; ++i) {
    RandomKey key{.seed = seed,
                  .sample = first_sample + static_cast<uint64_t>(i),
                  .step = step,
                  .purpose = Purpose::timestep};
    const int64_t t = static_cast<int64_t>(random_below(key, 0, static_cast<uint64_t>(schedule.steps())));
    key.purpose = Purpose::training_noise;
    keys.push_back(key);

    const Target target = target_of(params.prediction, schedule.alpha_bar(t));
    batch.t.push_back(t);
    timesteps.push_back(static_cast<float>(t));
    weight.push_back(static_cast<float>(loss_weight(params, schedule.snr(t))));
    signal.push_back(static_cast<float>(schedule.signal(t)));
    sigma.push_back(static_cast<float>(schedule.noise(t)));
    from_x0.push_back(static_cast<float>(target.from_x0));
    from_noise.push_back(static_cast<float>(target.from_noise));
  }
  const Tensor noise =
      random_normal(Shape(std::span(x0.shape().begin() + 1, x0.shape().end())), keys, x0.device());
  const auto per_image = [&](const std::vector<float>& values) {
    return Var(to_device(Tensor::from(values, Shape{n, 1, 1, 1}), x0.device()));
  };
  const Var clean = x0, eps = noise;
  batch.timesteps = Tensor::from(timesteps, Shape{n});
  batch.weight = to_device(Tensor::from(weight, Shape{n}), x0.device());
  batch.x_t = (per_image(signal) * clean + per_image(sigma) * eps).value();
  switch (params.prediction) {
    case Prediction::epsilon:
      batch.target = noise;
      break;
    case Prediction::sample:
      batch.target = x0;
      break;
    case Prediction::v:
      batch.target = (per_image(from_x0) * clean + per_image(from_noise) * eps).value();
      break;
  }
  return batch;
}

TrainingLoss training_loss(const NoisedBatch& batch, const Var& output) {
  check(output.shape() == batch.target.shape(), "training_loss", "the network returned ", output.shape(),
        ", the target is ", batch.target.shape());
  const DType dtype = output.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Var per_image = mse_per_sample(cast(output, dtype), batch.target.to(dtype));
  return {.loss = mean(mul(per_image, batch.weight.to(dtype))), .per_image = per_image.value().to_vector()};
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
