// The training objective: noise an image to a random timestep and ask the network for eps, x0 or v.
//
//   t ~ U{0, ..., T-1},  x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps
//   loss = mean over the batch of w(t) mean_{h,w,c} (net(x_t, t) - target)^2
//
// Weights are stated for the loss on x0 and converted, with SNR = alpha_bar / (1 - alpha_bar), by
// |d eps|^2 = SNR |d x0|^2 and |d v|^2 = (SNR + 1) |d x0|^2:
//
//            on x0                   epsilon                v
//   min_snr  min(SNR, g)             min(SNR, g) / SNR      min(SNR, g) / (SNR + 1)        (Hang et al. 2023)
//   p2       SNR / (k + SNR)^g       1 / (k + SNR)^g        SNR / (SNR + 1) / (k + SNR)^g  (Choi et al. 2022)
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/var.h"
#include "diffusion/prediction.h"
#include "diffusion/schedule.h"
#include "tensor/philox.h"

namespace tw {

enum class LossWeight { uniform, min_snr, p2 };

struct ObjectiveParams {
  Prediction prediction = Prediction::epsilon;
  LossWeight weight = LossWeight::uniform;
  double min_snr_gamma = 5;
  double p2_gamma = 1, p2_k = 1;
};

// w(t) for the loss on what the network predicts. Finite for alpha_bar in [0, 1), except min_snr and p2 of
// epsilon at 0.
double loss_weight(const ObjectiveParams& params, double snr);

// What is drawn for the images of a step, on the host.
struct NoiseDraw {
  std::vector<int64_t> t;
  std::vector<RandomKey> keys;  // of eps
  Tensor coefficients;          // (5, n) f32: x_t from x0 and from eps, the target from x0 and from eps, w
};

// Image i is drawn with the key (seed, first_sample + i, step): the same whatever the batch it is in. With
// gradient accumulation first_sample counts through the micro-batches of a step.
NoiseDraw draw_noise(const Schedule& schedule, const ObjectiveParams& params, int64_t n, uint64_t seed,
                     uint64_t step, uint64_t first_sample = 0);

// One draw for every image of a batch, on the device of the images but for the timesteps.
struct NoisedBatch {
  std::vector<int64_t> t;
  Tensor timesteps;  // (n) f32, what the network embeds; on the host, where it does that
  Tensor x_t;        // (n, h, w, c)
  Tensor target;     // (n, h, w, c)
  Tensor weight;     // (n)
};

// x0: (n, h, w, c) f32 in [-1, 1]; drawn as above.
NoisedBatch noise_batch(const Schedule& schedule, const ObjectiveParams& params, const Tensor& x0,
                        uint64_t seed, uint64_t step, uint64_t first_sample = 0);
// x_t, target and weight of a draw, whose coefficients and eps are where x0 is; the rest is left undefined.
NoisedBatch mix_noise(Prediction prediction, const Tensor& x0, const Tensor& eps, const Tensor& coefficients);

struct TrainingLoss {
  Var loss;          // one element, the weighted mean over the batch
  Tensor per_image;  // (n) unweighted mean squared errors, for logs by timestep
};

// `output` is the network's for (x_t, timesteps), of any floating dtype; the loss is computed in f32 (f64 for
// f64).
TrainingLoss training_loss(const NoisedBatch& batch, const Var& output);

const char* name_of(LossWeight weight);
LossWeight loss_weight_from_name(const std::string& name);

}  // namespace tw
