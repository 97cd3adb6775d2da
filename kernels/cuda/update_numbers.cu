// The numbers of Adam's step by one thread, after the sum of squares (square_sum.cu).
#include "kernels/cuda/library.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/square_sum.h"
#include "kernels/op/update_numbers.h"

namespace tw::cuda {
namespace {

using kernels::UpdateNumbers;
using kernels::UpdateRule;

template <class T>
__device__ bool all_finite(const void* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!isfinite(static_cast<const T*>(values)[i])) return false;
  return true;
}

__global__ void numbers_kernel(UpdateRule rule, const void* losses, bool double_losses, int64_t count,
                               UpdateNumbers* numbers, int64_t* ema_updates, float* loss_scale) {
  UpdateNumbers& n = *numbers;
  const double scale = loss_scale ? n.gradient_scale / n.loss_scale.scale : n.gradient_scale;
  n.gradient_norm = sqrt(n.square_sum) * scale;
  const bool gradients = isfinite(n.gradient_norm),
             loss = double_losses ? all_finite<double>(losses, count) : all_finite<float>(losses, count);
  n.finite = gradients && loss;
  n.overflowed = loss_scale && loss && !gradients;
  if (loss_scale && loss) {
    n.loss_scale.after_step(rule.loss_scale, gradients);
    *loss_scale = static_cast<float>(n.loss_scale.scale);
  }
  if (!n.finite) return;
  const bool clip = rule.clip_norm > 0 && n.gradient_norm > rule.clip_norm;
  kernels::AdamParams& adam = rule.adam;
  adam.lr = n.learning_rate;
  adam.step = ++n.steps;
  adam.grad_scale = scale * (clip ? rule.clip_norm / (n.gradient_norm + 1e-6) : 1);
  adam.ema_decay = ema_updates ? rule.ema.at((*ema_updates)++) : -1;
  n.f32 = kernels::math::adam_coefficients<float>(adam);
  n.f64 = kernels::math::adam_coefficients<double>(adam);
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_update_numbers(const UpdateRule* rule, const View* const* gradients,
                                      const int64_t* count, const View* losses, const View* numbers,
                                      const View* ema_updates, const View* loss_scale) {
  return caught([&] {
    auto* in_memory = static_cast<UpdateNumbers*>(numbers->pointer);
    square_sum(*gradients, *count, &in_memory->square_sum);
    launch(numbers_kernel, 1, 1, *rule, losses->pointer, losses->dtype == DType::f64,
           losses->pointer ? losses->numel() : 0, in_memory, static_cast<int64_t*>(ema_updates->pointer),
           static_cast<float*>(loss_scale->pointer));
    require(launched("update_numbers"));
  });
}

}  // namespace tw::cuda
