// The training loop, step by step, from images to new weights. Ho, Jain & Abbeel 2020, algorithm 1.
//
// On a CUDA device a step is captured as a graph, forward, backward and update, and repeated by one launch
// (tensor/cuda_graph.h). What differs between steps is written to fixed places before it: images, noise, the
// coefficients of its timesteps, labels, the learning rate. The numbers of the update are the device's
// (kernels/op/update_numbers.h), so the host waits for nothing: what a step did is kept there and read later.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "nn/ema.h"
#include "nn/optimiser.h"
#include "nn/unet/unet.h"
#include "tensor/arena.h"
#include "tensor/cuda_graph.h"

namespace tw {

struct ImageBatch {
  Tensor images;  // (n, h, w, c) f32 in [-1, 1]
  Tensor labels;  // (n) i32, undefined without classes; the number of classes stands for "hidden"
};

// What a step did, for the log. The loss rises steeply towards t = 0, so its mean says little of where a
// model still learns: it is kept by quarters of the timesteps as well.
struct StepReport {
  int64_t step = 0;
  double loss = 0;  // the weighted objective, averaged over the step's images
  std::array<double, 4> quartile_sum{};
  std::array<int64_t, 4> quartile_count{};
  double gradient_norm = 0;  // before clipping
  bool finite = true;        // otherwise the weights were left as they were
  bool overflowed = false;   // because the loss was scaled for f16: the scale has been halved
  double loss_scale = 1;     // of the next step

  void count(const std::vector<int64_t>& t, const std::vector<double>& per_image, int64_t timesteps);
};

struct TrainingParams {
  ObjectiveParams objective{};
  int64_t batch = 16, accumulate = 1;  // images of a micro-batch, micro-batches of a step
  uint64_t seed = 0;
  bool repeat = true;  // on a CUDA device, as a graph
};

class TrainingLoop {
 public:
  // What is referred to must outlive the loop; the averages may be null. The network is on its device, where
  // the optimiser and the averages were made.
  TrainingLoop(UNet& network, Optimiser& optimiser, Ema* ema, const Schedule& schedule,
               const TrainingParams& params);

  // Step number `step`, which names its random numbers. read(micro) gives the images of a micro-batch, always
  // of one shape. A step whose loss or gradient is not finite leaves everything as it was.
  void step(int64_t step, double learning_rate, const std::function<ImageBatch(int64_t micro)>& read);
  // What the steps since the last call did, in their order. Waits for a device.
  std::vector<StepReport> reports();

  bool repeats() const { return repeats_; }
  const CudaGraph& graph() const { return graph_; }

 private:
  // What a repeated step reads: of one micro-batch, on the device.
  struct Inputs {
    Tensor images, eps, coefficients, sinusoids, labels, dropout_keys;
  };
  using Read = std::function<ImageBatch(int64_t micro)>;

  bool compute(int64_t step, double learning_rate, const Read& read, StepReport& report);
  void make_inputs(const ImageBatch& like);
  void prepare(int64_t step, double learning_rate, const Read& read);
  void compute_repeated();
  void run_repeated();
  void collect();
  TrainingLoss forward_backward(const NoisedBatch& batch, const Tensor& labels);
  uint64_t first_sample(int64_t micro) const { return static_cast<uint64_t>(micro * params_.batch); }

  UNet& network_;
  Optimiser& optimiser_;
  Ema* ema_;
  const Schedule& schedule_;
  TrainingParams params_;
  PlannedLoop memory_;  // of forward, backward and update: the same allocations in every step
  std::vector<StepReport> finished_;

  bool repeats_;
  std::vector<Inputs> inputs_;  // of the micro-batches
  Tensor losses_, per_image_;   // (accumulate) and (accumulate, batch) f32: what the latest step left
  Tensor past_losses_, past_per_image_, past_numbers_;  // of the steps that were not read yet, a row each
  struct Queued {
    int64_t step;
    std::vector<int64_t> t;
  };
  std::vector<Queued> queued_;
  int64_t ran_ = 0;
  CudaGraph graph_;
};

}  // namespace tw
