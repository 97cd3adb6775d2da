#include "kernels/op/update_numbers.h"

#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {

void update_numbers(const UpdateRule& rule, std::span<const View> gradients, const View& losses,
                    const View& numbers, const View& ema_updates, const View& loss_scale) {
  const char* op = "update_numbers";
  const OpTimer timer(op, numbers);
  check_adam(rule.adam);
  check(numbers.device == Device::cuda && numbers.dtype == DType::u8 &&
            numbers.numel() == static_cast<int64_t>(sizeof(UpdateNumbers)),
        op, "expected ", sizeof(UpdateNumbers), " u8 on a CUDA device, found ", numbers.numel(), " ",
        dtype_name(numbers.dtype), " on ", device_name(numbers.device));
  for (const View& gradient : gradients) check_dense(op, {"gradient", gradient}, Device::cuda);
  if (losses) {
    check_dense(op, {"losses", losses}, Device::cuda);
    check(losses.dtype == DType::f32 || losses.dtype == DType::f64, op, "losses must be f32 or f64, found ",
          dtype_name(losses.dtype));
  }
  if (ema_updates)
    check(ema_updates.device == Device::cuda && ema_updates.dtype == DType::i64 && ema_updates.numel() == 1,
          op, "ema_updates must be one i64 on a CUDA device, found ", ema_updates.numel(), " ",
          dtype_name(ema_updates.dtype), " on ", device_name(ema_updates.device));
  if (loss_scale)
    check(loss_scale.device == Device::cuda && loss_scale.dtype == DType::f32 && loss_scale.numel() == 1, op,
          "loss_scale must be one f32 on a CUDA device, found ", loss_scale.numel(), " ",
          dtype_name(loss_scale.dtype), " on ", device_name(loss_scale.device));
  cuda::call("tw_cuda_update_numbers", rule, gradients.data(), static_cast<int64_t>(gradients.size()), losses,
             numbers, ema_updates, loss_scale);
}

}  // namespace tw::kernels
