// Pooling, padding, layer norm, residual norm and Adam on a CUDA device against the CPU. Without a device:
// that the backend has their functions.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/op/accumulate.h"
#include "kernels/op/adam.h"
#include "kernels/op/avg_pool2d.h"
#include "kernels/op/cuda.h"
#include "kernels/op/layer_norm.h"
#include "kernels/op/pad2d.h"
#include "kernels/op/residual_norm.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

TEST(CudaTraining, HasEveryFunction) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  void* library = dlopen(TW_BIN_DIR "/../lib/libtweedie_cuda.so", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  for (const char* name :
       {"tw_cuda_gather_windows", "tw_cuda_spread_windows", "tw_cuda_accumulate", "tw_cuda_pad2d_forward",
        "tw_cuda_pad2d_backward", "tw_cuda_layer_norm_forward", "tw_cuda_layer_norm_backward",
        "tw_cuda_residual_norm_forward", "tw_cuda_residual_norm_backward", "tw_cuda_adam_step"})
    EXPECT_NE(dlsym(library, name), nullptr) << name;
  dlclose(library);
}

// A computation is written once, over tensors that `place` and `empty` put on one device or the other.
struct Place {
  Device device;
  DType dtype;  // of activations
  Tensor operator()(const Tensor& t) const { return to_device(t.to(dtype), device); }
  Tensor exact(const Tensor& t) const { return to_device(t, device); }
  Tensor empty(const Shape& shape) const { return to_device(Tensor::zeros(shape, dtype), device); }
  Tensor empty(const Shape& shape, DType of) const { return to_device(Tensor::zeros(shape, of), device); }
};

class CudaTrainingOps : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  Tensor input(const Shape& shape, unsigned seed) const { return random_tensor(shape, GetParam(), seed); }
  DType statistics() const { return GetParam() == DType::f64 ? DType::f64 : DType::f32; }

  template <class F>
  void compare(F f) const {
    const double tolerance = GetParam() == DType::f64 ? 1e-12 : GetParam() == DType::f32 ? 1e-5 : 1e-2;
    const DType on_cpu = GetParam() == DType::f16 ? DType::f32 : GetParam();
    const std::vector<Tensor> expected = f(Place{Device::cpu, on_cpu}),
                              found = f(Place{Device::cuda, GetParam()});
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_LE(max_error(to_device(found[i], Device::cpu).to(expected[i].dtype()), expected[i]), tolerance)
          << "result " << i << " of " << expected[i].shape();
  }
};

TEST_P(CudaTrainingOps, PoolingAndDoubling) {
  for (const int64_t k : {2, 3})
    compare([&](const Place& place) {
      const Tensor x = place(input({2, 7, 6, 5}, 1)), dy = place(input({2, 7 / k, 6 / k, 5}, 2));
      const Tensor y = place.empty({2, 7 / k, 6 / k, 5}), dx = place.empty({2, 7, 6, 5}),
                   up = place.empty({2, 14, 12, 5}), down = place.empty({2, 7, 6, 5});
      avg_pool2d_forward(k, x.view(), y.view());
      avg_pool2d_backward(k, dy.view(), dx.view());
      upsample_nearest2x_forward(x.view(), up.view());
      upsample_nearest2x_backward(up.view(), down.view());
      accumulate(x.view(), down.view());
      return std::vector<Tensor>{y, dx, up, down};
    });
}

TEST_P(CudaTrainingOps, Padding) {
  for (const PadMode mode : {PadMode::zero, PadMode::reflect, PadMode::replicate})
    compare([&](const Place& place) {
      const Pad2dParams params{2, 1, 0, 3, mode};
      const Tensor x = place(input({2, 5, 4, 3}, 1)), dy = place(input({2, 8, 7, 3}, 2));
      const Tensor y = place.empty({2, 8, 7, 3}), dx = place.empty({2, 5, 4, 3});
      pad2d_forward(params, x.view(), y.view());
      pad2d_backward(params, dy.view(), dx.view());
      return std::vector<Tensor>{y, dx};
    });
}

TEST_P(CudaTrainingOps, LayerNorm) {
  for (const int64_t c : {1, 33, 320, 1500})
    compare([&](const Place& place) {
      const Shape shape{3, 23, c};
      const Tensor x = place(input(shape, 1)), gamma = place(input({c}, 2)), beta = place(input({c}, 3)),
                   dy = place(input(shape, 4));
      const Tensor y = place.empty(shape), mean = place.empty({3, 23}, statistics()),
                   rstd = place.empty({3, 23}, statistics()), dx = place.empty(shape),
                   dgamma = place.empty({c}, statistics()), dbeta = place.empty({c}, statistics());
      const Tensor memory = place.empty({layer_norm_backward_workspace_bytes(shape, place.dtype)}, DType::u8);
      const LayerNormInputs in{x.view(), gamma.view(), beta.view()};
      layer_norm_forward(in, 1e-3, y.view(), mean.view(), rstd.view());
      layer_norm_backward(in, mean.view(), rstd.view(), dy.view(), {dx.view(), dgamma.view(), dbeta.view()},
                          memory.view());
      return std::vector<Tensor>{y, mean, rstd, dx, dgamma, dbeta};
    });
}

TEST_P(CudaTrainingOps, ResidualNorm) {
  for (const ResidualKind kind : {ResidualKind::norm, ResidualKind::squared})
    compare([&](const Place& place) {
      const Tensor y = place(input({3, 67, 65, 3}, 1)), a = place(input({3, 67, 65, 3}, 2)),
                   dloss = place.exact(random_tensor({3}, statistics(), 3));
      const Tensor loss = place.empty({3}, statistics()), da = place.empty(a.shape());
      residual_norm_forward(kind, y.view(), a.view(), loss.view());
      residual_norm_backward(kind, y.view(), a.view(), loss.view(), dloss.view(), da.view());
      return std::vector<Tensor>{loss, da};
    });
}

TEST_P(CudaTrainingOps, Adam) {
  for (const bool decoupled : {true, false})
    compare([&](const Place& place) {
      const Shape shape{1001};
      const DType real = statistics();
      const Tensor p = place.exact(random_tensor(shape, real, 1)), gradient = place(input(shape, 2)),
                   m = place.empty(shape, real), v = place.empty(shape, real), ema = place.empty(shape, real),
                   copy = place.empty(shape, DType::bf16);
      for (int64_t step = 1; step <= 3; ++step)
        adam_step(
            {.weight_decay = 0.1, .decoupled = decoupled, .step = step, .grad_scale = 0.5, .ema_decay = 0.9},
            {p.view(), gradient.view(), m.view(), v.view(), ema.view(), copy.view()});
      return std::vector<Tensor>{p, m, v, ema};
    });
}

INSTANTIATE_TEST_SUITE_P(, CudaTrainingOps, testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
