#include "kernels/op/sampler_step.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/sampler_step.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/predict_x0.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

// Every sample is cut into the same chunks, so that a pixel's arithmetic depends neither on the batch nor on
// the number of threads.
constexpr int64_t chunk = 4096;

// The steps that were passed, or the one that lies in memory.
class Steps {
 public:
  Steps(const char* op, std::span<const SamplerStep> passed, const View& coefficients, const View& x,
        Device device) {
    const int64_t n = x.rank() == 0 ? 1 : x.dim(0);
    if (!coefficients) {
      check(passed.size() == 1 || static_cast<int64_t>(passed.size()) == n, op,
            "needs the coefficients of one step or of each of the ", n, " samples, found ", passed.size());
      steps_ = passed;
      return;
    }
    check(passed.empty(), op, "has coefficients in memory and steps");
    check(coefficients.device == device && coefficients.dtype == DType::f64 &&
              coefficients.shape == Shape{sampler_coefficients} && coefficients.is_contiguous(),
          op, "coefficients must be (", sampler_coefficients, ") f64 on ", device_name(device), ", found ",
          coefficients.shape, " ", dtype_name(coefficients.dtype), " on ", device_name(coefficients.device));
    if (device == Device::cpu) std::memcpy(&read_, coefficients.pointer, sizeof read_);
    steps_ = {&read_, 1};
  }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  const SamplerStep& of(int64_t sample) const {
    return steps_[steps_.size() == 1 ? 0 : static_cast<size_t>(sample)];
  }

 private:
  SamplerStep read_;
  std::span<const SamplerStep> steps_;
};

// body(step of the sample, begin, end) for every chunk of every sample.
template <class Body>
void for_each_chunk(const Steps& steps, const View& x, Body body) {
  const int64_t n = x.rank() == 0 ? 1 : x.dim(0);
  if (x.numel() == 0) return;
  const int64_t size = x.numel() / n, chunks = (size + chunk - 1) / chunk;
  parallel_for(n * chunks, 2, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t sample = item / chunks, begin = item % chunks * chunk;
      body(steps.of(sample), sample * size + begin, sample * size + std::min(begin + chunk, size));
    }
  });
}

}  // namespace

void sampler_step(std::span<const SamplerStep> steps, const SamplerArrays& arrays) {
  const auto& [x, output, noise, gradient, x0, next, coefficients] = arrays;
  const OpTimer timer("sampler_step", x, output, noise, gradient, x0, next);
  const Device device = device_of("sampler_step", {{"x", x},
                                                   {"output", output},
                                                   {"next", next},
                                                   {"noise", noise},
                                                   {"gradient", gradient},
                                                   {"x0", x0},
                                                   {"coefficients", coefficients}});
  check_same("sampler_step", {{"x", x}, {"output", output}, {"next", next}}, device);
  if (noise) check_same("sampler_step", {{"x", x}, {"noise", noise}}, device);
  if (gradient) check_same("sampler_step", {{"x", x}, {"gradient", gradient}}, device);
  if (x0) check_same("sampler_step", {{"x", x}, {"x0", x0}}, device);
  const Steps used("sampler_step", steps, coefficients, x, device);
  if (device == Device::cuda)
    return cuda::call("tw_cuda_sampler_step", steps.data(), static_cast<int64_t>(steps.size()), arrays);
  const auto run = active<SamplerStepKernels>().step;
  for_each_chunk(used, x,
                 [&](const SamplerStep& step, int64_t begin, int64_t end) { run(step, arrays, begin, end); });
}

void predict_x0_forward(std::span<const SamplerStep> steps, const View& x, const View& output, const View& x0,
                        const View& coefficients) {
  const OpTimer timer("predict_x0_forward", x, output, x0);
  const Device device = device_of("predict_x0_forward", {{"x", x}, {"output", output}, {"x0", x0}});
  check_same("predict_x0_forward", {{"x", x}, {"output", output}, {"x0", x0}}, device);
  const Steps used("predict_x0_forward", steps, coefficients, x, device);
  if (device == Device::cuda)
    return cuda::call("tw_cuda_predict_x0_forward", steps.data(), static_cast<int64_t>(steps.size()), x,
                      output, x0, coefficients);
  const auto run = active<SamplerStepKernels>().x0_forward;
  for_each_chunk(used, x, [&](const SamplerStep& step, int64_t begin, int64_t end) {
    run(step, x, output, x0, begin, end);
  });
}

void predict_x0_backward(std::span<const SamplerStep> steps, const View& x, const View& output,
                         const View& dx0, const View& dx, const View& doutput, const View& coefficients) {
  const OpTimer timer("predict_x0_backward", x, output, dx0, dx, doutput);
  const Device device = device_of(
      "predict_x0_backward", {{"x", x}, {"output", output}, {"dx0", dx0}, {"dx", dx}, {"doutput", doutput}});
  check_same("predict_x0_backward", {{"x", x}, {"output", output}, {"dx0", dx0}}, device);
  if (dx) check_same("predict_x0_backward", {{"x", x}, {"dx", dx}}, device);
  if (doutput) check_same("predict_x0_backward", {{"x", x}, {"doutput", doutput}}, device);
  const Steps used("predict_x0_backward", steps, coefficients, x, device);
  if (device == Device::cuda)
    return cuda::call("tw_cuda_predict_x0_backward", steps.data(), static_cast<int64_t>(steps.size()), x,
                      output, dx0, dx, doutput, coefficients);
  const auto run = active<SamplerStepKernels>().x0_backward;
  for_each_chunk(used, x, [&](const SamplerStep& step, int64_t begin, int64_t end) {
    run(step, x, output, dx0, dx, doutput, begin, end);
  });
}

}  // namespace tw::kernels
