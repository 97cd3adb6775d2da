// Pooling, padding, norms, losses, sums, look-up, dropout, x0 and Adam on a CUDA device against the CPU.
// Without a device: that the backend has their functions.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/op/accumulate.h"
#include "kernels/op/adam.h"
#include "kernels/op/avg_pool2d.h"
#include "kernels/op/cuda.h"
#include "kernels/op/dropout.h"
#include "kernels/op/embedding.h"
#include "kernels/op/layer_norm.h"
#include "kernels/op/mse_loss.h"
#include "kernels/op/pad2d.h"
#include "kernels/op/predict_x0.h"
#include "kernels/op/residual_norm.h"
#include "kernels/op/resize.h"
#include "kernels/op/square_sum.h"
#include "kernels/op/sum.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

TEST(CudaTraining, HasEveryFunction) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  void* library = dlopen(TW_BIN_DIR "/../lib/libtweedie_cuda.so", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  for (const char* name : {"tw_cuda_gather_windows",
                           "tw_cuda_spread_windows",
                           "tw_cuda_accumulate",
                           "tw_cuda_pad2d_forward",
                           "tw_cuda_pad2d_backward",
                           "tw_cuda_layer_norm_forward",
                           "tw_cuda_layer_norm_backward",
                           "tw_cuda_residual_norm_forward",
                           "tw_cuda_residual_norm_backward",
                           "tw_cuda_adam_step",
                           "tw_cuda_sum",
                           "tw_cuda_square_sum",
                           "tw_cuda_mse_forward",
                           "tw_cuda_mse_backward",
                           "tw_cuda_embedding_forward",
                           "tw_cuda_embedding_backward",
                           "tw_cuda_dropout",
                           "tw_cuda_predict_x0_forward",
                           "tw_cuda_predict_x0_backward",
                           "tw_cuda_update_numbers"})
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

// More than a launch's table holds, of many sizes; what lies behind each stays as it is.
TEST_P(CudaTrainingOps, AdamOfManyTensors) {
  compare([&](const Place& place) {
    const DType real = statistics();
    std::vector<Tensor> parameters, kept;
    std::vector<AdamTensors> all;
    for (int64_t k = 0; k < 150; ++k) {
      const int64_t n = k * k * k % 5003;
      const Tensor p = place.exact(random_tensor({n + 3}, real, static_cast<unsigned>(k))),
                   gradient = place(input({n}, static_cast<unsigned>(k + 200))), m = place.empty({n}, real),
                   v = place.empty({n}, real), ema = place.empty({n}, real);
      all.push_back({p.slice(0, 0, n).view(), gradient.view(), m.view(), v.view(), ema.view(), {}});
      parameters.push_back(p);
      kept.insert(kept.end(), {gradient, m, v, ema});
    }
    adam_step({.ema_decay = 0.9}, all);
    return parameters;
  });
}

TEST_P(CudaTrainingOps, Sums) {
  struct Case {
    Shape x, y;
  };
  for (const Case& c :
       {Case{{3, 67, 65, 5}, {1, 1, 1, 1}}, Case{{3, 67, 65, 5}, {3, 1, 1, 5}},
        Case{{3, 67, 65, 5}, {1, 67, 1, 1}}, Case{{4, 9001}, {4, 1}}, Case{{300, 3}, {300, 1}},
        Case{{300, 3}, {1, 3}}, Case{{7, 1, 33}, {7, 1, 33}}, Case{{0, 3}, {1, 3}}})
    compare([&](const Place& place) {
      const Tensor x = place(input(c.x, 1)), y = place.empty(c.y), memory = [&] {
        const auto bytes = static_cast<int64_t>(sum_workspace_bytes(x.view(), c.y));
        return Tensor::empty({bytes}, DType::u8);
      }();
      sum(x.view(), 0.25, y.view(), memory.view().pointer);
      return std::vector<Tensor>{y};
    });
}

TEST_P(CudaTrainingOps, SquareSum) {
  compare([&](const Place& place) {
    const Tensor a = place(input({70'001}, 1)), b = place(input({5}, 2)), c = place(input({0}, 3));
    const Tensor memory = Tensor::empty({square_sum_workspace_bytes(70'001)}, DType::u8);
    std::vector<View> all{a.view(), c.view()};
    for (int i = 0; i < 400; ++i) all.push_back(b.view());
    return std::vector<Tensor>{Tensor::from(
        std::vector<double>{square_sum(b.view(), memory.view()), square_sum(all, memory.view()) / 1e4})};
  });
}

TEST_P(CudaTrainingOps, MseLoss) {
  compare([&](const Place& place) {
    const Tensor a = place(input({3, 67, 65, 3}, 1)), b = place(input({3, 67, 65, 3}, 2)),
                 dy = place.exact(random_tensor({3}, statistics(), 3));
    const Tensor y = place.empty({3}, statistics()), da = place.empty(a.shape());
    const Tensor memory = Tensor::empty({static_cast<int64_t>(mse_workspace_bytes(a.view()))}, DType::u8);
    mse_forward(a.view(), b.view(), y.view(), memory.view().pointer);
    mse_backward(a.view(), b.view(), dy.view(), da.view());
    return std::vector<Tensor>{y, da};
  });
}

TEST_P(CudaTrainingOps, Resize) {
  for (const ResizeMode mode : {ResizeMode::nearest, ResizeMode::bilinear, ResizeMode::bicubic})
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{9, 14}, {14, 5}, {7, 7}})
      compare([&](const Place& place) {
        const ResizeAxis axis{.mode = mode, .in = in, .out = out, .antialias = true};
        const Tensor first = Tensor::empty({out}, DType::i32), count = Tensor::empty({out}, DType::i32),
                     weight = Tensor::empty({out, resize_taps(axis)}, DType::f64);
        resize_table(axis, first.view(), count.view(), weight.view());
        const Tensor x = place(input({3, in, 33}, 1)), y = place.empty({3, out, 33});
        const Tensor f = place.exact(first), c = place.exact(count), w = place.exact(weight);
        resize_axis(x.view(), f.view(), c.view(), w.view(), y.view());
        return std::vector<Tensor>{y};
      });
}

TEST_P(CudaTrainingOps, Embedding) {
  for (const DType type : {DType::i32, DType::i64})
    compare([&](const Place& place) {
      const Tensor table = place(input({7, 33}, 1)), dy = place(input({2, 3, 33}, 2)),
                   index = place.exact(Tensor::from(std::vector<int32_t>{6, 0, 3, 3, 6, 3}, {2, 3}).to(type));
      const Tensor y = place.empty({2, 3, 33}), dtable = place.empty({7, 33}, statistics());
      embedding_forward(table.view(), index.view(), y.view());
      embedding_backward(index.view(), dy.view(), dtable.view());
      return std::vector<Tensor>{y, dtable};
    });
}

TEST_P(CudaTrainingOps, DropoutHasTheMaskOfTheCpu) {
  for (const Shape& shape : {Shape{3, 17, 5}, Shape{1, 4096}, Shape{2, 3}})
    compare([&](const Place& place) {
      const Tensor x = place(input(shape, 1)), y = place.empty(shape);
      dropout({.p = 0.4, .key = {.seed = 3, .sample = 8, .step = 2}}, x.view(), y.view());
      return std::vector<Tensor>{y};
    });
}

TEST_P(CudaTrainingOps, PredictX0) {
  for (const size_t samples : {size_t{1}, size_t{35}})
    compare([&](const Place& place) {
      std::vector<SamplerStep> steps;
      for (size_t i = 0; i < samples; ++i)
        steps.push_back({.x0_from_x = 1.25,
                         .x0_from_output = -0.5 - 0.015625 * static_cast<double>(i),
                         .clip = 0.75,
                         .x0_scale = 1.5});
      const Shape shape{35, 3, 7};
      const Tensor x = place(input(shape, 1)), output = place(input(shape, 2)), dx0 = place(input(shape, 3));
      const Tensor x0 = place.empty(shape), dx = place.empty(shape), doutput = place.empty(shape);
      predict_x0_forward(steps, x.view(), output.view(), x0.view());
      predict_x0_backward(steps, x.view(), output.view(), dx0.view(), dx.view(), doutput.view());
      return std::vector<Tensor>{x0, dx, doutput};
    });
}

INSTANTIATE_TEST_SUITE_P(, CudaTrainingOps, testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
