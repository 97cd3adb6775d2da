// The network as a sampler sees it.
#pragma once

#include <concepts>
#include <functional>
#include <utility>

#include "autograd/var.h"

namespace tw {

// The network's output for x (n, h, w, c) at the timestep of row `step` of the table: (n, h, w, c), or (n, h,
// w, 2c) when the variance is learned.
//
// One with `prepare` can be repeated as a CUDA graph: prepare(step) writes what differs between steps, such
// as the projections of the timestep, to memory of its own, always the same, and the evaluation takes nothing
// else from the step.
class Denoiser {
 public:
  using Evaluate = std::function<Var(const Var& x, int64_t step)>;
  using Prepare = std::function<void(int64_t step)>;

  template <class F>
  requires(std::constructible_from<Evaluate, F> && !std::same_as<std::remove_cvref_t<F>, Denoiser>)
      Denoiser(F evaluate)
      : evaluate_(std::move(evaluate)) {}  // implicit: a function is a denoiser
  Denoiser(Evaluate evaluate, Prepare prepare)
      : evaluate_(std::move(evaluate)), prepare_(std::move(prepare)) {}

  // Before each step; outside of the planned memory.
  void prepare(int64_t step) const {
    if (prepare_) prepare_(step);
  }
  Var operator()(const Var& x, int64_t step) const { return evaluate_(x, step); }
  bool repeatable() const { return static_cast<bool>(prepare_); }

 private:
  Evaluate evaluate_;
  Prepare prepare_;
};

}  // namespace tw
