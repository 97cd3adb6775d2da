// Runs the steps of a sampling loop: one after the other as they are, or, on a CUDA device, as one graph that
// is captured in the third step and repeated from then on (tensor/cuda_graph.h).
//
// A repeated step takes everything that differs between steps from memory: the row's coefficients and the
// noise are written there before it, the network's share by Denoiser::prepare.
#pragma once

#include <functional>
#include <vector>

#include "diffusion/noise.h"
#include "diffusion/sampler/loop.h"
#include "tensor/cuda_graph.h"

namespace tw {

class StepRunner {
 public:
  // x_T: of the loop's shape, dtype and device. `next_from_gradient` is that of guided sampling. What is
  // passed by reference must outlive the runner.
  StepRunner(const SamplerTable& table, const Denoiser& network, const Tensor& x_T, NoiseSource& noise,
             const LoopOptions& options, double next_from_gradient = 0);

  // Draws the noise of a step and makes its values ready.
  void prepare(int64_t step);
  // The step's z; undefined when it draws none.
  const Tensor& noise() const { return noise_; }
  // Of the ops of the update, in memory; undefined when they are passed with the call.
  const Tensor& coefficients() const { return coefficients_; }
  // For mean_output; undefined when the bounds are passed with the call.
  const Tensor& variance_bounds() const { return bounds_; }

  // The body of the step that was prepared; it writes x' to `next`.
  void run(const std::function<void()>& body);
  // Makes x' the next step's x.
  void advance(Tensor& x, Tensor& next) const;

  bool repeats() const { return repeats_; }
  const CudaGraph& graph() const { return graph_; }

 private:
  const SamplerTable& table_;
  const Denoiser& network_;
  NoiseSource& source_;
  const LoopOptions& options_;
  bool repeats_ = false;
  Tensor all_coefficients_, all_bounds_;  // (steps, 9) f64 and (steps, 2), on the device
  Tensor coefficients_, bounds_, noise_;  // this step's
  DType dtype_;
  Device device_;
  int64_t draws_ = 0, ran_ = 0;
  CudaGraph graph_;
};

}  // namespace tw
