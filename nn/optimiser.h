// Adam and AdamW over the parameters of a module, with clipping by the global gradient norm and the moving
// average in the same pass. On a device the step's numbers lie in its memory (kernels/op/update_numbers.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/op/update_numbers.h"
#include "nn/ema.h"
#include "nn/module.h"

namespace tw {

struct OptimiserSettings {
  bool decoupled = true;  // AdamW; false: Adam, whose weight decay is part of the gradient
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double clip_norm = 0;  // gradients are scaled down to this global L2 norm; 0: never
  // On a device: backward passes begin with loss_scale() instead of 1, for activations in f16.
  bool scale_loss = false;
  kernels::LossScaleRule loss_scale{};
};

class Optimiser {
 public:
  Optimiser(const Module& module, const OptimiserSettings& settings);

  struct Report {
    double gradient_norm = 0;  // before clipping
    bool finite = true;        // false: some gradient was not finite and nothing was changed
    bool overflowed = false;   // because the loss was scaled; the scale has been halved
    double loss_scale = 1;     // of the next step
  };
  // Uses and then clears the gradients. A parameter without a gradient is left alone.
  // `gradient_scale` multiplies all gradients first, e.g. 1 / number of accumulated batches. Waits for a
  // device.
  Report step(double learning_rate, double gradient_scale = 1, Ema* ema = nullptr);

  // The same on a device in parts, none of which waits. What `queue` does may be repeated as a graph
  // (tensor/cuda_graph.h); before every launch comes `prepare`, after it `changed`.
  void prepare(double learning_rate, double gradient_scale = 1);
  // Changes nothing if a gradient, or one of `losses` (f32 or f64), is not finite. Clears the gradients.
  void queue(Ema* ema = nullptr, const Tensor& losses = {});
  void changed(Ema* ema = nullptr);  // counts up the versions of what a step writes
  // () f32: what the loss is to be multiplied by before the backward pass; undefined where it is not scaled.
  const Tensor& loss_scale() const { return loss_scale_; }
  // kernels::UpdateNumbers as u8: what the latest step left.
  const Tensor& numbers() const { return numbers_; }

  int64_t steps() const;                        // waits for a device
  kernels::LossScale loss_scaling() const;      // the same; where the loss is scaled
  std::map<std::string, Tensor> state() const;  // "<parameter>.exp_avg", "<parameter>.exp_avg_sq"
  void load_state(const std::map<std::string, Tensor>& state, int64_t steps,
                  const kernels::LossScale& loss_scale = {});

 private:
  struct Slot {
    std::string name;
    Var parameter;
    Tensor exp_avg, exp_avg_sq;
  };
  kernels::AdamParams adam_params() const;
  std::vector<kernels::AdamTensors> tensors(Ema* ema);
  void clear_gradients();
  void write_numbers(const kernels::UpdateNumbers& numbers, size_t first, size_t bytes);

  OptimiserSettings settings_;
  std::vector<Slot> slots_;
  int64_t steps_ = 0;
  Tensor numbers_;  // on a device, steps_ too
  Tensor loss_scale_;
};

kernels::UpdateNumbers read_numbers(const Tensor& numbers);  // waits for a device

// The L2 norm of all gradients together, summed in the order of the parameters; not finite if any element is
// not.
double global_gradient_norm(const std::vector<Var>& parameters);

}  // namespace tw
