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
// One with `prepare` can be repeated as a CUDA graph: its evaluation takes what differs between steps, such
// as the projections of the timestep, from memory of its own, always the same. There it is written by
// prepare(step), the host's part, or by select(row), which is queued as part of the step itself and reads the
// step's number from the device.
class Denoiser {
 public:
  using Evaluate = std::function<Var(const Var& x, int64_t step)>;
  using Prepare = std::function<void(int64_t step)>;
  using Select = std::function<void(const Tensor& row)>;  // row: (1) i64 on the device

  template <class F>
  requires(std::constructible_from<Evaluate, F> && !std::same_as<std::remove_cvref_t<F>, Denoiser>)
      Denoiser(F evaluate)
      : evaluate_(std::move(evaluate)) {}  // implicit: a function is a denoiser
  Denoiser(Evaluate evaluate, Prepare prepare, Select select = {})
      : evaluate_(std::move(evaluate)), prepare_(std::move(prepare)), select_(std::move(select)) {}

  // Before each step; outside of the planned memory.
  void prepare(int64_t step) const {
    if (prepare_) prepare_(step);
  }
  // First in the body of a repeated step.
  void select(const Tensor& row) const {
    if (select_) select_(row);
  }
  Var operator()(const Var& x, int64_t step) const { return evaluate_(x, step); }
  bool repeatable() const { return static_cast<bool>(prepare_); }

 private:
  Evaluate evaluate_;
  Prepare prepare_;
  Select select_;
};

}  // namespace tw
