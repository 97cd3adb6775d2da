#include "diffusion/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tensor/error.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

const Schedule schedule({.precision = TablePrecision::f64});

TEST(Objective, XtAndTargetFollowTheForwardProcess) {
  const Tensor x0 = random_tensor({6, 4, 5, 3});
  const NoisedBatch eps = noise_batch(schedule, {.prediction = Prediction::epsilon}, x0, 7, 3);
  const NoisedBatch clean = noise_batch(schedule, {.prediction = Prediction::sample}, x0, 7, 3);
  const NoisedBatch v = noise_batch(schedule, {.prediction = Prediction::v}, x0, 7, 3);
  EXPECT_EQ(clean.target.to_vector(), x0.to_vector());
  EXPECT_EQ(v.x_t.to_vector(), eps.x_t.to_vector());
  const auto x = x0.to_vector(), e = eps.target.to_vector(), x_t = eps.x_t.to_vector(),
             velocity = v.target.to_vector();
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t t = eps.t[i / 60];
    const double a = schedule.signal(t), s = schedule.noise(t);
    ASSERT_NEAR(x_t[i], a * x[i] + s * e[i], 1e-6);
    ASSERT_NEAR(velocity[i], a * e[i] - s * x[i], 1e-6);
  }
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(eps.timesteps.to_vector()[i], static_cast<double>(eps.t[i]));
}

// What the network is asked to return, put through the samplers' conversion, is x0 and eps again.
TEST(Objective, TargetsAndConversionsAreInverse) {
  for (Prediction p : {Prediction::epsilon, Prediction::sample, Prediction::v})
    for (double abar : {0.9, 0.5, 0.01}) {
      const double x0 = 0.7, eps = -1.3, x = std::sqrt(abar) * x0 + std::sqrt(1 - abar) * eps;
      const Target target = target_of(p, abar);
      const double o = target.from_x0 * x0 + target.from_noise * eps;
      const auto to_x0 = x0_of(p, abar), to_eps = epsilon_of(p, abar);
      EXPECT_NEAR(to_x0.from_x * x + to_x0.from_output * o, x0, 1e-12) << name_of(p);
      EXPECT_NEAR(to_eps.from_x * x + to_eps.from_output * o, eps, 1e-12) << name_of(p);
      EXPECT_EQ(prediction_from_name(name_of(p)), p);
    }
}

TEST(Objective, AnImagesDrawDependsOnItsKeyOnly) {
  const Tensor x0 = random_tensor({8, 3, 3, 2});
  const NoisedBatch batch = noise_batch(schedule, {}, x0, 11, 5, 100);
  for (int64_t i = 0; i < 8; ++i) {
    const NoisedBatch one =
        noise_batch(schedule, {}, x0.slice(0, i, i + 1).clone(), 11, 5, 100 + static_cast<uint64_t>(i));
    EXPECT_EQ(one.t[0], batch.t[static_cast<size_t>(i)]);
    EXPECT_EQ(one.x_t.to_vector(), batch.x_t.slice(0, i, i + 1).to_vector());
  }
  EXPECT_NE(noise_batch(schedule, {}, x0, 11, 6, 100).t, batch.t);
  EXPECT_NE(noise_batch(schedule, {}, x0, 12, 5, 100).t, batch.t);
}

TEST(Objective, TimestepsCoverTheScheduleEvenly) {
  const NoisedBatch batch = noise_batch(schedule, {}, Tensor::zeros({4000, 1, 1, 1}), 1, 0);
  std::vector<int> quartiles(4);
  for (int64_t t : batch.t) ++quartiles[static_cast<size_t>(t / 250)];
  for (int count : quartiles) EXPECT_NEAR(count, 1000, 130);  // 5 standard deviations are 137
  EXPECT_GT(std::set(batch.t.begin(), batch.t.end()).size(), 950u);
}

TEST(Objective, WeightsAgreeAcrossPredictions) {
  for (double snr : {1e-3, 0.5, 5.0, 400.0}) {
    for (LossWeight w : {LossWeight::min_snr, LossWeight::p2}) {
      const auto weight = [&](Prediction p) {
        return loss_weight({.prediction = p, .weight = w, .p2_gamma = 0.5, .p2_k = 2}, snr);
      };
      // |d eps|^2 = snr |d x0|^2 and |d v|^2 = (snr + 1) |d x0|^2.
      EXPECT_NEAR(weight(Prediction::epsilon) * snr, weight(Prediction::sample), 1e-9 * snr);
      EXPECT_NEAR(weight(Prediction::v) * (snr + 1), weight(Prediction::sample), 1e-9 * (snr + 1));
    }
    EXPECT_NEAR(loss_weight({.prediction = Prediction::sample, .weight = LossWeight::min_snr}, snr),
                std::min(snr, 5.0), 1e-12);
    EXPECT_NEAR(loss_weight({.prediction = Prediction::epsilon, .weight = LossWeight::min_snr}, snr),
                std::min(snr, 5.0) / snr, 1e-12);
    EXPECT_NEAR(loss_weight({.prediction = Prediction::epsilon, .weight = LossWeight::p2}, snr),
                1 / (1 + snr), 1e-12);
    EXPECT_EQ(loss_weight({}, snr), 1);
  }
}

TEST(Objective, TheLossIsTheWeightedMeanOfTheImagesErrors) {
  const Tensor x0 = random_tensor({3, 2, 2, 1});
  NoisedBatch batch = noise_batch(schedule, {.weight = LossWeight::min_snr}, x0, 1, 2);
  const Var output = Var::leaf(random_tensor({3, 2, 2, 1}, DType::f32, 4));
  const TrainingLoss result = training_loss(batch, output);
  const auto o = output.value().to_vector(), target = batch.target.to_vector(), w = batch.weight.to_vector(),
             per_image = result.per_image.to_vector();
  double loss = 0;
  std::vector<double> gradient;
  for (size_t i = 0; i < 3; ++i) {
    double mse = 0;
    for (size_t j = 4 * i; j < 4 * i + 4; ++j) {
      mse += (o[j] - target[j]) * (o[j] - target[j]) / 4;
      gradient.push_back(w[i] / 3 * 2 * (o[j] - target[j]) / 4);
    }
    EXPECT_NEAR(per_image[i], mse, 1e-6);
    loss += w[i] * mse / 3;
  }
  EXPECT_NEAR(result.loss.value().item(), loss, 1e-6);
  backward(result.loss);
  for (size_t j = 0; j < 12; ++j) EXPECT_NEAR(output.grad().to_vector()[j], gradient[j], 1e-6);
  EXPECT_THROW(training_loss(batch, Var(Tensor::zeros({3, 2, 2, 2}))), Error);
}

// At alpha_bar = 0 only v and x0 have a weight; it must be finite there.
TEST(Objective, ZeroTerminalSnrHasFiniteWeights) {
  for (LossWeight w : {LossWeight::uniform, LossWeight::min_snr, LossWeight::p2})
    for (Prediction p : {Prediction::sample, Prediction::v})
      EXPECT_TRUE(std::isfinite(loss_weight({.prediction = p, .weight = w}, 0))) << name_of(w) << name_of(p);
}

}  // namespace
}  // namespace tw
