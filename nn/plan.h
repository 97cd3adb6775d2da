// Plan: everything about evaluating a U-Net at every step of a schedule that can be done before the first
// step.
//
// - the projections of all time steps, in one GEMM a block (TimeTable);
// - frozen weights, packed once by the first evaluation and kept by their layers;
// - memory: the second evaluation is recorded, later ones replay its addresses in one arena (tensor/arena.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/unet/unet.h"
#include "tensor/arena.h"

namespace tw {

// For batches of one shape. One thread at a time. The network must outlive the plan and keep its parameters.
class Plan {
 public:
  // labels (n) i32 for the batch, undefined without classes.
  Plan(const UNet& network, const std::vector<float>& timesteps, const Tensor& labels = {});

  // x (n, h, w, c) at step `row` of the schedule -> the network's output, bit for bit that of UNet::forward.
  // Nothing is recorded. Throws Error when x's shape differs from that of the recorded evaluation.
  Tensor evaluate(const Tensor& x, int64_t row);

  // For a step with a gradient in it, or one whose memory somebody else plans: the same output as a Var that
  // the tape knows, allocated by the caller's allocator.
  Var evaluate_recorded(const Var& x, int64_t row) const { return network_.forward(x, times_, row); }

  const TimeTable& times() const { return times_; }
  // The memory of an evaluation; complete after two.
  const PlannedArena& arena() const { return loop_.arena(); }

 private:
  const UNet& network_;
  TimeTable times_;
  PlannedLoop loop_;
  Shape shape_;
};

}  // namespace tw
