// The ops on a CUDA device against the same ops on the CPU. Without a device only what needs none is tested:
// that the backend loads and has every function that the ops call.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/op/activation.h"
#include "kernels/op/binary.h"
#include "kernels/op/copy.h"
#include "kernels/op/cuda.h"
#include "kernels/op/group_norm_silu.h"
#include "kernels/op/sampler_step.h"
#include "kernels/op/softmax.h"
#include "kernels/op/unary.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

TEST(CudaBackend, LoadsWithoutADriverAndHasEveryFunction) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  void* library = dlopen(TW_BIN_DIR "/../lib/libtweedie_cuda.so", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  for (const char* name :
       {"tw_cuda_open", "tw_cuda_wait", "tw_cuda_allocate", "tw_cuda_release", "tw_cuda_memory",
        "tw_cuda_copy", "tw_cuda_fill", "tw_cuda_activation_forward", "tw_cuda_activation_backward",
        "tw_cuda_unary_forward", "tw_cuda_unary_backward", "tw_cuda_binary", "tw_cuda_strided_copy",
        "tw_cuda_strided_fill", "tw_cuda_softmax_forward", "tw_cuda_softmax_backward", "tw_cuda_sampler_step",
        "tw_cuda_group_norm_silu_forward", "tw_cuda_group_norm_silu_backward"})
    EXPECT_NE(dlsym(library, name), nullptr) << name;
  dlclose(library);
}

TEST(CudaBackend, SaysWhyItCannotRun) {
  if (cuda_available()) GTEST_SKIP() << "there is a device";
  // A view that claims to be on the device: nothing of it may be touched.
  View x = Tensor::zeros({4}).view();
  x.device = Device::cuda;
  try {
    activation_forward({}, x, x);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(cuda::built() ? "CUDA" : "built without CUDA"));
  }
}

TEST(CudaBackend, TwoDevicesInOneOpAreRefused) {
  const Tensor x = Tensor::zeros({4});
  View there = x.view();
  there.device = Device::cuda;  // nothing of it may be touched
  try {
    binary(Binary::add, x.view(), there, x.view());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("add"), testing::HasSubstr("a is on cpu"),
                                             testing::HasSubstr("b on cuda")));
  }
}

class CudaOps : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  // f16 is compared with f32 on the CPU, which has no arithmetic in f16.
  DType host_dtype() const { return GetParam() == DType::f16 ? DType::f32 : GetParam(); }
  double tolerance() const {
    return GetParam() == DType::f64 ? 1e-12 : GetParam() == DType::f32 ? 1e-5 : 1e-2;
  }
  Tensor host(const Shape& shape, unsigned seed, double scale = 3) const {
    return random_tensor(shape, GetParam(), seed, scale).to(host_dtype());
  }
  Tensor device(const Tensor& t) const { return to_device(t.to(GetParam()), Device::cuda); }
  Tensor empty(const Shape& shape) const { return device(Tensor::zeros(shape, host_dtype())); }
  void expect_near(const Tensor& found, const Tensor& expected, const char* what) const {
    EXPECT_LE(max_error(to_device(found, Device::cpu).to(host_dtype()), expected), tolerance()) << what;
  }
};

TEST_P(CudaOps, Activations) {
  for (const int64_t n : {1, 7, 256, 100'003})
    for (int kind = 0; kind <= static_cast<int>(Activation::softplus); ++kind) {
      const ActivationParams params{static_cast<Activation>(kind)};
      const Tensor x = host({n}, 1, 6), dy = host({n}, 2), y = Tensor::empty({n}, host_dtype()),
                   dx = y.clone();
      activation_forward(params, x.view(), y.view());
      activation_backward(params, x.view(), dy.view(), dx.view());
      const Tensor gx = device(x), gdy = device(dy), gy = empty({n});
      activation_forward(params, gx.view(), gy.view());
      expect_near(gy, y, "forward");
      activation_backward(params, gx.view(), gdy.view(), gdy.view());  // in place
      expect_near(gdy, dx, "backward");
    }
}

TEST_P(CudaOps, UnaryFunctions) {
  for (int kind = 0; kind <= static_cast<int>(Unary::clamp); ++kind) {
    const UnaryParams params{static_cast<Unary>(kind), -0.5, 0.75};
    Tensor x = host({1003}, 1, 2);
    if (params.kind == Unary::log || params.kind == Unary::sqrt)
      binary(Binary::mul, x.view(), x.view(), x.view());
    const Tensor y = Tensor::empty(x.shape(), host_dtype()), dy = host({1003}, 2), dx = y.clone(),
                 gy = empty(x.shape());
    unary_forward(params, x.view(), y.view());
    unary_forward(params, device(x).view(), gy.view());
    expect_near(gy, y, unary_name(params.kind));
    const Tensor saved = unary_saves(params.kind) == UnarySaves::y ? y : x, gdx = empty(x.shape());
    unary_backward(params, saved.view(), dy.view(), dx.view());
    unary_backward(params, device(saved).view(), device(dy).view(), gdx.view());
    if (params.kind != Unary::log) expect_near(gdx, dx, unary_name(params.kind));
  }
}

TEST_P(CudaOps, BroadcastingArithmetic) {
  const std::pair<Shape, Shape> cases[] = {
      {{1000}, {1000}}, {{2, 5, 7, 3}, {3}}, {{2, 1, 7, 3}, {1, 5, 1, 3}}, {{4, 1}, {1, 9}}};
  for (const auto& [a_shape, b_shape] : cases)
    for (const Binary kind : {Binary::add, Binary::sub, Binary::mul, Binary::div}) {
      const Tensor a = host(a_shape, 1), b = host(b_shape, 2);
      const Shape shape = broadcast_shapes("test", a_shape, b_shape);
      const Tensor y = Tensor::empty(shape, host_dtype()), gy = empty(shape);
      binary(kind, a.view(), b.view(), y.view());
      binary(kind, device(a).view(), device(b).view(), gy.view());
      expect_near(gy, y, binary_name(kind));
    }
}

TEST_P(CudaOps, StridedCopiesAndFills) {
  const Tensor x = host({3, 4, 5, 6}, 1), gx = device(x);
  const Tensor turned = Tensor::empty({5, 3, 6, 4}, host_dtype()), gturned = empty({5, 3, 6, 4});
  copy(x.permute({2, 0, 3, 1}).view(), turned.view());
  copy(gx.permute({2, 0, 3, 1}).view(), gturned.view());
  expect_near(gturned, turned, "permuted");
  fill(0.5, gturned.slice(-1, 1, 3).view());
  fill(0.5, turned.slice(-1, 1, 3).view());
  expect_near(gturned, turned, "filled");
  const Tensor wide = to_device(Tensor::zeros({3, 4, 5, 6}, DType::f64), Device::cuda);
  copy(gx.view(), wide.view());
  EXPECT_EQ(to_device(wide, Device::cpu).to_vector(), x.to_vector());
}

TEST_P(CudaOps, Softmax) {
  for (const int64_t c : {1, 31, 256, 1000, 4097}) {
    const Tensor x = host({5, c}, 1, 8), dy = host({5, c}, 2), y = Tensor::empty({5, c}, host_dtype()),
                 dx = y.clone();
    softmax_forward(x.view(), y.view());
    softmax_backward(y.view(), dy.view(), dx.view());
    const Tensor gy = empty({5, c}), gdx = empty({5, c});
    softmax_forward(device(x).view(), gy.view());
    softmax_backward(device(y).view(), device(dy).view(), gdx.view());
    expect_near(gy, y, "forward");
    expect_near(gdx, dx, "backward");
  }
}

TEST_P(CudaOps, SamplerSteps) {
  const Shape shape{40, 3, 5, 3};
  std::vector<SamplerStep> steps(40);
  for (size_t i = 0; i < steps.size(); ++i) {
    const double s = static_cast<double>(i) / 40;
    steps[i] = {1 + s, -s, 1, 1, 0.5 + s, 0.25, 0.1, s, -0.5};
  }
  const Tensor x = host(shape, 1), output = host(shape, 2), noise = host(shape, 3), gradient = host(shape, 4);
  for (const size_t count : {size_t{1}, steps.size()}) {
    const std::span<const SamplerStep> used(steps.data(), count);
    const Tensor x0 = Tensor::empty(shape, host_dtype()), next = x0.clone(), gx0 = empty(shape),
                 gnext = empty(shape);
    sampler_step(used, {x.view(), output.view(), noise.view(), gradient.view(), x0.view(), next.view()});
    const Tensor gx = device(x), goutput = device(output), gnoise = device(noise),
                 ggradient = device(gradient);
    sampler_step(used,
                 {gx.view(), goutput.view(), gnoise.view(), ggradient.view(), gx0.view(), gnext.view()});
    expect_near(gx0, x0, "x0");
    expect_near(gnext, next, "next");
  }
}

TEST_P(CudaOps, GroupNormSilu) {
  struct Case {
    Shape x;
    int64_t groups, rest;  // `rest` of the channels lie in a map of their own
    bool silu, adaptive;
  };
  const Case cases[] = {
      {{2, 8, 8, 64}, 32, 0, true, false},   {{1, 5, 7, 48}, 6, 16, true, true},
      {{3, 1, 1, 32}, 32, 0, false, true},   {{2, 33, 17, 320}, 32, 128, true, false},
      {{2, 40, 30, 64}, 16, 24, true, true},  // too large for one launch
      {{1, 9, 4, 40}, 8, 12, false, false},   // groups in both maps, a slab that is cut short
      {{2, 3, 5, 192}, 2, 0, true, false}};   // groups wider than a slab
  for (const Case& c : cases) {
    const int64_t channels = c.x.back(), first = channels - c.rest, n = c.x[0];
    const GroupNormParams params{c.groups, 1e-5, c.silu};
    const auto run = [&](const auto& place, const auto& zeros, DType statistics) {
      const Tensor x = place(host(c.x.with(-1, first), 1)),
                   rest = c.rest ? place(host(c.x.with(-1, c.rest), 2)) : Tensor();
      const Tensor gamma = place(host({channels}, 3, 1)), beta = place(host({channels}, 4, 1));
      const Tensor adaptive = c.adaptive ? place(host({n, 2 * channels}, 5, 1)) : Tensor(),
                   dy = place(host(c.x, 6, 1));
      const auto view = [](const Tensor& t) { return t.defined() ? t.view() : View(); };
      const GroupNormInputs in{x.view(), gamma.view(), beta.view(), view(adaptive), view(rest)};
      const Tensor y = zeros(c.x, GetParam()), mean = zeros({n, c.groups}, statistics),
                   rstd = zeros({n, c.groups}, statistics);
      const Tensor memory = zeros({group_norm_silu_workspace_bytes(params, c.x, GetParam())}, DType::u8);
      group_norm_silu_forward(params, in, y.view(), mean.view(), rstd.view(), memory.view());
      const Tensor dx = zeros(x.shape(), GetParam()),
                   drest = c.rest ? zeros(rest.shape(), GetParam()) : Tensor();
      const Tensor dgamma = zeros({channels}, statistics), dbeta = zeros({channels}, statistics);
      const Tensor dadaptive = c.adaptive ? zeros({n, 2 * channels}, GetParam()) : Tensor();
      group_norm_silu_backward(params, in, mean.view(), rstd.view(), dy.view(),
                               {dx.view(), dgamma.view(), dbeta.view(), view(dadaptive), view(drest)},
                               memory.view());
      return std::vector<Tensor>{y, mean, rstd, dx, drest, dgamma, dbeta, dadaptive};
    };
    const DType statistics = GetParam() == DType::f64 ? DType::f64 : DType::f32;
    const auto on_cpu = [&](const Tensor& t) { return t; };
    const auto cpu_zeros = [&](const Shape& shape, DType dtype) {
      return Tensor::zeros(shape, dtype == DType::f16 ? DType::f32 : dtype);
    };
    const auto on_device = [&](const Tensor& t) { return device(t); };
    const auto device_zeros = [&](const Shape& shape, DType dtype) {
      return to_device(Tensor::zeros(shape, dtype), Device::cuda);
    };
    const auto expected = run(on_cpu, cpu_zeros, statistics),
               found = run(on_device, device_zeros, statistics);
    const char* names[] = {"y", "mean", "rstd", "dx", "drest", "dgamma", "dbeta", "dscale_shift"};
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!expected[i].defined()) continue;
      EXPECT_LE(max_error(to_device(found[i], Device::cpu).to(expected[i].dtype()), expected[i]), tolerance())
          << names[i] << " of " << c.x;
    }
  }
}

// What is not wanted changes nothing else, and dx may lie where dy lay.
TEST_P(CudaOps, SomeGradientsOfGroupNorm) {
  for (const Shape& shape : {Shape{2, 7, 5, 48}, Shape{1, 33, 32, 64}}) {
    const int64_t channels = shape.back();
    const GroupNormParams params{channels / 4, 1e-5, true};
    const DType statistics = GetParam() == DType::f64 ? DType::f64 : DType::f32;
    const auto zeros = [&](const Shape& of, DType dtype) {
      return to_device(Tensor::zeros(of, dtype), Device::cuda);
    };
    const Tensor x = device(host(shape, 1)), dy = device(host(shape, 2)),
                 gamma = device(host({channels}, 3, 1));
    const GroupNormInputs in{x.view(), gamma.view(), {}, {}, {}};
    const Tensor mean = zeros({shape[0], params.groups}, statistics),
                 rstd = zeros({shape[0], params.groups}, statistics);
    const Tensor memory = zeros({group_norm_silu_workspace_bytes(params, shape, GetParam())}, DType::u8);
    const Tensor dx = zeros(shape, GetParam()), dgamma = zeros({channels}, statistics),
                 dbeta = zeros({channels}, statistics), only_dgamma = zeros({channels}, statistics);
    group_norm_silu_forward(params, in, dx.view(), mean.view(), rstd.view(), memory.view());
    const auto backward = [&](const GroupNormGradients& gradients) {
      group_norm_silu_backward(params, in, mean.view(), rstd.view(), dy.view(), gradients, memory.view());
    };
    backward({dx.view(), dgamma.view(), dbeta.view(), {}, {}});
    backward({{}, only_dgamma.view(), {}, {}, {}});
    backward({dy.view(), {}, {}, {}, {}});
    const auto on_host = [](const Tensor& t) { return to_device(t, Device::cpu).to(DType::f64).to_vector(); };
    EXPECT_EQ(on_host(only_dgamma), on_host(dgamma)) << shape;
    EXPECT_EQ(on_host(dy), on_host(dx)) << shape;
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaOps, testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
