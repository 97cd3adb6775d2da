#include "nn/plan.h"

#include "tensor/error.h"

namespace tw {

Plan::Plan(const UNet& network, const std::vector<float>& timesteps, const Tensor& labels)
    : network_(network),
      times_(network.time_table(timesteps, labels)),
      loop_(PlannedArena::on(network.device())) {}

Tensor Plan::evaluate(const Tensor& x, int64_t row) {
  const NoGrad no_grad;
  if (shape_ == Shape()) shape_ = x.shape();
  check(x.shape() == shape_, "plan", "was made for x of ", shape_, ", found ", x.shape());
  Tensor y;
  loop_.step([&] {
    y = network_.forward(x, times_, row).value();
    return true;
  });
  return y;
}

}  // namespace tw
