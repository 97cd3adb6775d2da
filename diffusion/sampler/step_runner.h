// Runs the steps of a sampling loop: one after the other as they are, or, on a CUDA device, as one graph that
// is captured in the third step and repeated from then on (tensor/cuda_graph.h).
//
// A repeated step takes everything that differs between steps from memory. It has its number there, counts it
// up itself, and picks by it the row's coefficients, the draw's number and the network's share
// (Denoiser::select), so that between two steps the host writes nothing, unless the draws are not made on the
// device (NoiseSource::keys) or an observer wants to see x.
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

  // The host's part of a step, before it.
  void prepare(int64_t step);
  // The step's z; undefined, or to be left unread, when it draws none.
  const Tensor& noise() const { return noise_; }
  // Of the ops of the update, in memory; undefined when they are passed with the call.
  const Tensor& coefficients() const { return coefficients_; }
  // For mean_output; undefined when the bounds are passed with the call.
  const Tensor& variance_bounds() const { return bounds_; }

  // The number of the running step, (1) i64 on the device; undefined when steps are not repeated.
  const Tensor& row() const { return row_; }

  // The body of the step that was prepared; it reads x and writes x' to `next`.
  void run(Tensor& x, const Tensor& next, const std::function<void()>& body);
  // Makes x' the next step's x, once the step has been observed.
  void advance(Tensor& x, Tensor& next) const;

  bool repeats() const { return repeats_; }
  const CudaGraph& graph() const { return graph_; }

 private:
  const SamplerTable& table_;
  const Denoiser& network_;
  NoiseSource& source_;
  const LoopOptions& options_;
  bool repeats_ = false;
  void queue(Tensor& x, const Tensor& next, const std::function<void()>& body);

  // On the device: (steps, 9) f64, (steps, 2) and (steps, 1) i64, the number of draws before each step.
  Tensor all_coefficients_, all_bounds_, all_draws_;
  Tensor keys_;                                        // of the draws, if they are made there
  Tensor row_, coefficients_, bounds_, draw_, noise_;  // this step's
  DType dtype_;
  Device device_;
  int64_t draws_ = 0, ran_ = 0;
  CudaGraph graph_;
};

}  // namespace tw
