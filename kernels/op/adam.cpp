#include "kernels/op/adam.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/adam.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"
#include "kernels/op/update_numbers.h"

namespace tw::kernels {

namespace {

// The device of the tensors.
Device check_tensors(const AdamTensors& tensors) {
  const char* op = "adam_step";
  const View& p = tensors.parameter;
  const Device device = device_of(op, {{"parameter", p},
                                       {"gradient", tensors.gradient},
                                       {"m", tensors.m},
                                       {"v", tensors.v},
                                       {"ema", tensors.ema},
                                       {"bf16_copy", tensors.bf16_copy}});
  check_same(op, {{"parameter", p}, {"m", tensors.m}, {"v", tensors.v}}, device);
  check(p.dtype == DType::f32 || p.dtype == DType::f64, op, "parameter must be f32 or f64, found ",
        dtype_name(p.dtype));
  check_dense(op, {"gradient", tensors.gradient}, device);
  check_shape(op, {"gradient", tensors.gradient}, p.shape);
  check((tensors.gradient.dtype == DType::f64) == (p.dtype == DType::f64), op, "gradient is ",
        dtype_name(tensors.gradient.dtype), ", the parameter ", dtype_name(p.dtype));
  if (tensors.ema) check_same(op, {{"parameter", p}, {"ema", tensors.ema}}, device);
  if (tensors.bf16_copy) {
    check_dense(op, {"bf16_copy", tensors.bf16_copy}, device);
    check_shape(op, {"bf16_copy", tensors.bf16_copy}, p.shape);
    check_dtype(op, {"bf16_copy", tensors.bf16_copy}, DType::bf16);
  }
  return device;
}

Device check_all(std::span<const AdamTensors> all) {
  Device device = Device::cpu;
  for (const AdamTensors& tensors : all) {
    device = check_tensors(tensors);
    device_of("adam_step", {{"the first parameter", all[0].parameter}, {"parameter", tensors.parameter}});
  }
  return device;
}

}  // namespace

void check_adam(const AdamParams& params) {
  const char* op = "adam_step";
  check(params.step >= 1, op, "step counts from 1, found ", params.step);
  check(params.beta1 >= 0 && params.beta1 < 1 && params.beta2 >= 0 && params.beta2 < 1, op,
        "beta1 and beta2 must be in [0, 1), found ", params.beta1, " and ", params.beta2);
  check(params.eps > 0, op, "eps must be positive, found ", params.eps);
}

void adam_step(const AdamParams& params, std::span<const AdamTensors> all) {
  check_adam(params);
  const Device device = check_all(all);
  for (const AdamTensors& tensors : all)
    check(!tensors.ema || (params.ema_decay >= 0 && params.ema_decay <= 1), "adam_step",
          "ema_decay must be in [0, 1], found ", params.ema_decay);
  if (device == Device::cuda) {
    const OpTimer timer("adam_step", all[0].parameter);
    return cuda::call("tw_cuda_adam_step", params, View(), all.data(), static_cast<int64_t>(all.size()));
  }
  const auto run = active<AdamKernels>().run;
  for (const AdamTensors& tensors : all) {
    const OpTimer timer("adam_step", tensors.parameter, tensors.gradient, tensors.m, tensors.v, tensors.ema,
                        tensors.bf16_copy);
    parallel_for(tensors.parameter.numel(), 8192,
                 [&](int64_t begin, int64_t end) { run(params, tensors, begin, end); });
  }
}

void adam_step(const View& numbers, std::span<const AdamTensors> all) {
  check(check_all(all) == Device::cuda && numbers.device == Device::cuda &&
            numbers.numel() == static_cast<int64_t>(sizeof(UpdateNumbers)),
        "adam_step", "numbers in memory are for tensors on a CUDA device");
  const OpTimer timer("adam_step", all[0].parameter);
  cuda::call("tw_cuda_adam_step", AdamParams(), numbers, all.data(), static_cast<int64_t>(all.size()));
}

}  // namespace tw::kernels
