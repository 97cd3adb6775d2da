// The sampling loop that discrete-time samplers share: x_T -> ... -> x_0, one network evaluation a step.
//
// A sampler is a table with one row a step (sampler/ddpm.h, sampler/ddim.h); the loop evaluates the network
// and applies the row as one fused pass (kernels/op/sampler_step.h).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/var.h"
#include "diffusion/noise.h"
#include "diffusion/prediction.h"
#include "diffusion/sampler/denoiser.h"
#include "kernels/op/sampler_step.h"
#include "tensor/arena.h"

namespace tw {

// Where a network returns a variance beside the mean.
enum class LearnedVariance {
  none,
  direct,  // std = sqrt(o2)
  range,   // std = exp(1/2 [f ln beta' + (1 - f) ln V]), f = (o2 + 1) / 2   (Nichol & Dhariwal, eq. 15)
};

struct SamplerRow {
  int64_t timestep = 0;                 // what the network is asked
  kernels::SamplerStep update;          // the coefficients of the step
  bool draws_noise = false;             // otherwise next_from_noise is 0
  double log_small = 0, log_large = 0;  // ln V and ln beta', for LearnedVariance::range
};

struct SamplerTable {
  std::vector<SamplerRow> rows{};  // in the order of sampling: descending timesteps
  ImageRange range{};
  LearnedVariance learned = LearnedVariance::none;

  std::vector<int64_t> timesteps() const;
};

// What an observer sees of a step. The tensors are overwritten by later steps: clone what should stay.
struct StepView {
  int64_t step, steps;
  int64_t timestep;
  const Tensor& x;     // x_t, what the network was given (n, h, w, c)
  const Tensor& x0;    // the predicted clean image, after clipping
  const Tensor& loss;  // (n): the data term of guided sampling, else undefined
};

struct LoopOptions {
  std::function<void(const StepView&)> observe{};
  // Runs the body of one step; the place to plan its memory. What the body allocates it also releases.
  std::function<void(const std::function<void()>& body)> scope{};
  // On CUDA: captures a step as a graph and repeats it (step_runner.h), if the network can be repeated. Needs
  // a scope that plans memory.
  bool repeat = false;
  std::function<void(int64_t nodes)>
      captured{};  // told when that has happened: the graph's kernels and copies
};

// A scope that plans a step's memory: the first step runs as it is (layers pack weights and fill caches
// then), the second is recorded, the others replay its addresses.
std::function<void(const std::function<void()>& body)> planned_steps(std::shared_ptr<PlannedArena> arena);

// Returns x_0 (n, h, w, c) in the dtype of x_T, f32 or f64, and on its device, where the network is too; the
// draws may come from the host. x_T is left as it is. Nothing is recorded.
Tensor sample(const Denoiser& network, const SamplerTable& table, const Tensor& x_T, NoiseSource& noise,
              const LoopOptions& options = {});

// std = exp(factor o2 + shift) of LearnedVariance::range.
struct VarianceBounds {
  double factor, shift;
};
VarianceBounds variance_bounds_of(const SamplerRow& row);

// The output's mean part, in the dtype of x; z is multiplied by the learned standard deviation where there is
// one. Used by loops that share the table but have more to do in a step. `bounds` (2): the row's, if they are
// to be read from memory.
Var mean_output(const SamplerTable& table, const SamplerRow& row, const Var& x, const Var& output, Tensor& z,
                const Tensor& bounds = {});

// The row's coefficients: one entry, or one per image when thresholding is dynamic.
std::vector<kernels::SamplerStep> step_of(const SamplerTable& table, const SamplerRow& row, const Tensor& x,
                                          const Tensor& output);

}  // namespace tw
