// Convolutions by cuDNN, products by cuBLASLt and attention on them against the CPU. Without a device: that
// cuDNN builds plans for the convolutions of a U-Net on a device that is described to it.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/op/attention.h"
#include "kernels/op/conv2d.h"
#include "kernels/op/conv3d.h"
#include "kernels/op/conv_transpose2d.h"
#include "kernels/op/cuda.h"
#include "kernels/op/gemm.h"
#include "kernels/op/pixel_sum.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

// An H200 as cuDNN describes devices.
const char* const hopper = R"({"cudaDeviceId": 0, "deviceName": "NVIDIA H200", "deviceVer": 900,
  "driverVer": 13000, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "regsPerBlock": 65536, "multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
  "l2CacheSize": 62914560, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
  "pciDeviceId": 0, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
  "totalGlobalMem": 150000000000, "isTccDriver": 0, "supportCoopLaunch": 1})";

// The backend as a file: none of its functions asks for a driver before it needs one.
class Backend {
 public:
  Backend() : handle_(dlopen(TW_BIN_DIR "/../lib/libtweedie_cuda.so", RTLD_NOW | RTLD_LOCAL)) {}
  ~Backend() {
    if (handle_) dlclose(handle_);
  }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  void* find(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

 private:
  void* handle_;
};

TEST(CudaConvolutionPlans, HaveEveryFunction) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  const Backend backend;
  for (const char* name :
       {"tw_cuda_conv2d_forward", "tw_cuda_conv2d_data_gradient", "tw_cuda_conv2d_weight_gradient",
        "tw_cuda_conv3d_forward", "tw_cuda_conv3d_data_gradient", "tw_cuda_conv3d_weight_gradient",
        "tw_cuda_gemm", "tw_cuda_gemm_outer", "tw_cuda_pixel_sum", "tw_cuda_attention_forward",
        "tw_cuda_attention_backward"})
    EXPECT_NE(backend.find(name), nullptr) << name;
}

using Conv2dPlans = const char* (*)(const char*, int, const Conv2dParams*, const View*, const View*,
                                    const View*, int*);

TEST(CudaConvolutionPlans, AreBuiltForADescribedDevice) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  if (std::getenv("TW_CUDA_LIBRARY"))
    GTEST_SKIP() << "a backend with another library of cuDNN's name is in use";
  const Backend backend;
  const auto plans = reinterpret_cast<Conv2dPlans>(backend.find("tw_cuda_conv2d_plans"));
  ASSERT_NE(plans, nullptr);
  struct Case {
    int64_t size, ci, co, taps, stride;
  };
  const Case cases[] = {{32, 3, 128, 3, 1}, {32, 128, 128, 3, 1}, {16, 256, 512, 1, 2}, {33, 128, 128, 3, 2}};
  for (const Case& c : cases)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
      for (int pass = 0; pass < 3; ++pass) {
        Conv2dParams params = c.stride == 1 ? Conv2dParams::same(c.taps) : Conv2dParams{};
        params.stride_h = params.stride_w = c.stride;
        View x, w, y;
        x.dtype = w.dtype = y.dtype = dtype;
        x.shape = {4, c.size, c.size, c.ci};
        w.shape = {c.co, c.taps, c.taps, c.ci};
        y.shape = conv2d_output_shape(params, x.shape, {c.taps, c.taps, c.ci, c.co});
        int count = 0;
        const char* text = plans(hopper, pass, &params, &x, &w, &y, &count);
        if (text && std::string(text).find("cannot be loaded") != std::string::npos) GTEST_SKIP() << text;
        ASSERT_EQ(text, nullptr) << text;
        EXPECT_GT(count, 0) << dtype_name(dtype) << " pass " << pass << " of " << x.shape << " and "
                            << w.shape;
      }
}

TEST(CudaConvolutionPlans, AMistakeIsExplained) {
  if (!cuda::built()) GTEST_SKIP() << "built without CUDA";
  if (std::getenv("TW_CUDA_LIBRARY"))
    GTEST_SKIP() << "a backend with another library of cuDNN's name is in use";
  const Backend backend;
  const auto plans = reinterpret_cast<Conv2dPlans>(backend.find("tw_cuda_conv2d_plans"));
  ASSERT_NE(plans, nullptr);
  int count = 0;
  const Conv2dParams params;
  const View none;
  const char* text = plans("{}", 0, &params, &none, &none, &none, &count);
  ASSERT_NE(text, nullptr);
  if (std::string(text).find("cannot be loaded") != std::string::npos) GTEST_SKIP() << text;
  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("the properties of a device"),
                                   testing::HasSubstr("CUDNN_STATUS_BAD_PARAM")));
}

// Runs a computation on the CPU and on the device from equal inputs and compares what it leaves.
class CudaProducts : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  // The CPU computes f16's results in f32.
  DType host_dtype() const { return GetParam() == DType::f16 ? DType::f32 : GetParam(); }
  Tensor input(const Shape& shape, unsigned seed) const {
    return random_tensor(shape, GetParam(), seed, 1).to(host_dtype());
  }
  Tensor there(const Tensor& t) const { return to_device(t.to(GetParam()), Device::cuda); }
  Tensor zeros(const Shape& shape, DType dtype) const {
    return to_device(Tensor::zeros(shape, dtype), Device::cuda);
  }
  void expect_near(const Tensor& found, const Tensor& expected, const char* what) const {
    EXPECT_LE(max_error(to_device(found, Device::cpu).to(expected.dtype()), expected),
              GetParam() == DType::f32 ? 1e-5 : 1e-2)
        << what << " of " << expected.shape();
  }
};

TEST_P(CudaProducts, Gemm) {
  struct Case {
    Shape a, b;
    bool transpose_a, transpose_b, bias, residual;
  };
  const Case cases[] = {{{2, 5, 64}, {64, 24}, false, false, true, true},
                        {{3, 40, 16}, {3, 24, 16}, false, true, false, false},
                        {{2, 16, 40}, {2, 16, 8}, true, false, false, true},
                        {{1, 7, 3}, {3, 5}, false, false, true, false},
                        {{2, 3, 9, 32}, {2, 3, 9, 32}, false, true, false, false}};
  for (const Case& c : cases) {
    const GemmParams params{c.transpose_a, c.transpose_b, 0.5};
    const Shape shape = gemm_output_shape(params, c.a, c.b);
    const Tensor a = input(c.a, 1), b = input(c.b, 2), bias = input({shape.back()}, 3),
                 residual = input(shape, 4);
    const Tensor y = Tensor::empty(shape, host_dtype()), gy = zeros(shape, GetParam());
    const Tensor memory = Tensor::empty({gemm_workspace_bytes(params, c.a, c.b, host_dtype())}, DType::u8);
    gemm(params, a.view(), b.view(), {c.bias ? bias.view() : View(), c.residual ? residual.view() : View()},
         y.view(), memory.view());
    const Tensor gbias = there(bias), gresidual = there(residual);
    gemm(params, there(a).view(), there(b).view(),
         {c.bias ? gbias.view() : View(), c.residual ? gresidual.view() : View()}, gy.view(), {});
    expect_near(gy, y, "gemm");
  }
}

TEST_P(CudaProducts, GemmOuterAndPixelSum) {
  const Tensor a = input({3, 171, 40}, 1), b = input({3, 171, 33}, 2);
  const Tensor c = Tensor::empty({40, 33}, DType::f32), sum = Tensor::empty({33}, DType::f32),
               pixels = Tensor::empty({3, 33}, DType::f32);
  const Tensor memory = Tensor::empty({gemm_outer_workspace_bytes(a.shape(), b.shape())}, DType::u8);
  gemm_outer(a.view(), b.view(), c.view(), sum.view(), memory.view());
  pixel_sum(b.view(), pixels.view());
  const Tensor gc = zeros({40, 33}, DType::f32), gsum = zeros({33}, DType::f32),
               gpixels = zeros({3, 33}, DType::f32), ga = there(a), gb = there(b);
  gemm_outer(ga.view(), gb.view(), gc.view(), gsum.view(), {});
  pixel_sum(gb.view(), gpixels.view());
  expect_near(gc, c, "c");
  expect_near(gsum, sum, "sum");
  expect_near(gpixels, pixels, "pixel sum");
}

TEST_P(CudaProducts, Conv2d) {
  struct Case {
    Shape x, w;
    Conv2dParams params;
    bool temb, residual, in_place;
  };
  const Conv2dParams down{.stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1};
  const Case cases[] = {{{2, 8, 8, 32}, {3, 3, 32, 64}, Conv2dParams::same(3), true, true, false},
                        {{2, 8, 8, 32}, {3, 3, 32, 32}, Conv2dParams::same(3), false, true, true},
                        {{3, 7, 9, 3}, {3, 3, 3, 16}, Conv2dParams::same(3), false, false, false},
                        {{1, 8, 8, 16}, {3, 3, 16, 24}, down, false, false, false},
                        {{2, 6, 5, 48}, {1, 1, 48, 16}, {}, true, true, false}};
  for (const Case& c : cases) {
    const Shape shape = conv2d_output_shape(c.params, c.x, c.w);
    const Tensor x = input(c.x, 1), w = input(c.w, 2), bias = input({c.w[3]}, 3),
                 temb = input({c.x[0], c.w[3]}, 4), residual = input(shape, 5), dy = input(shape, 6);
    const auto run = [&](const auto& place, const auto& empty, auto bytes) {
      const Tensor px = place(x), pw = place(w), pbias = place(bias), ptemb = place(temb),
                   pr = place(residual), pdy = place(dy);
      const Tensor y = c.in_place ? pr : empty(shape, GetParam()), dx = empty(c.x, GetParam()),
                   dw = empty(c.w, DType::f32), db = empty({c.w[3]}, DType::f32);
      const Conv2dEpilogue terms{pbias.view(), c.temb ? ptemb.view() : View(),
                                 c.residual ? pr.view() : View()};
      conv2d_forward(c.params, px.view(), pw.view(), terms, y.view(), bytes(0).view());
      conv2d_data_gradient(c.params, pdy.view(), pw.view(), dx.view(), bytes(1).view());
      conv2d_weight_gradient(c.params, px.view(), pdy.view(), dw.view(), db.view(), bytes(2).view());
      return std::vector<Tensor>{y, dx, dw, db};
    };
    Conv2dProblem problem{c.params, c.x, c.w, host_dtype(), c.temb};
    const auto expected = run([](const Tensor& t) { return t.clone(); },
                              [&](const Shape& s, DType dtype) {
                                return Tensor::zeros(s, dtype == GetParam() ? host_dtype() : dtype);
                              },
                              [&](int pass) {
                                const int64_t bytes = pass == 0 ? conv2d_forward_workspace_bytes(problem)
                                                      : pass == 1
                                                          ? conv2d_data_gradient_workspace_bytes(problem)
                                                          : conv2d_weight_gradient_workspace_bytes(problem);
                                problem.temb = false;
                                return Tensor::empty({bytes}, DType::u8);
                              });
    const auto found = run([&](const Tensor& t) { return there(t); },
                           [&](const Shape& s, DType dtype) { return zeros(s, dtype); },
                           [](int) { return Tensor::empty({0}, DType::u8); });
    const char* names[] = {"y", "dx", "dw", "db"};
    for (size_t i = 0; i < 4; ++i) expect_near(found[i], expected[i], names[i]);
  }
}

TEST_P(CudaProducts, Conv3d) {
  const Shape shape{1, 4, 6, 5, 16}, w_shape{3, 3, 3, 16, 32};
  const Conv3dParams params = Conv3dParams::same(3);
  const Shape out = conv3d_output_shape(params, shape, w_shape);
  const Tensor x = input(shape, 1), w = input(w_shape, 2), bias = input({32}, 3), dy = input(out, 4);
  const Tensor y = Tensor::empty(out, host_dtype()), dx = Tensor::empty(shape, host_dtype()),
               dw = Tensor::empty(w_shape, DType::f32);
  const Tensor memory =
      Tensor::empty({std::max({conv3d_forward_workspace_bytes(params, shape, w_shape),
                               conv3d_data_gradient_workspace_bytes(params, shape, w_shape),
                               conv3d_weight_gradient_workspace_bytes(params, shape, w_shape)})},
                    DType::u8);
  conv3d_forward(params, x.view(), w.view(), bias.view(), y.view(), memory.view());
  conv3d_data_gradient(params, dy.view(), w.view(), dx.view(), memory.view());
  conv3d_weight_gradient(params, x.view(), dy.view(), dw.view(), memory.view());
  const Tensor gx = there(x), gw = there(w), gbias = there(bias), gdy = there(dy),
               gy = zeros(out, GetParam()), gdx = zeros(shape, GetParam()), gdw = zeros(w_shape, DType::f32);
  conv3d_forward(params, gx.view(), gw.view(), gbias.view(), gy.view(), {});
  conv3d_data_gradient(params, gdy.view(), gw.view(), gdx.view(), {});
  conv3d_weight_gradient(params, gx.view(), gdy.view(), gdw.view(), {});
  expect_near(gy, y, "y");
  expect_near(gdx, dx, "dx");
  expect_near(gdw, dw, "dw");
}

// q, k and v are parts of one tensor, and the last query may attend to nothing.
TEST_P(CudaProducts, ConvTranspose2d) {
  struct Case {
    Shape x, w;
    ConvTranspose2dParams params;
  };
  const Case cases[] = {
      {{2, 5, 6, 24},
       {4, 4, 24, 16},
       {.stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1}},
      {{1, 4, 3, 5},
       {3, 3, 5, 7},
       {.stride_h = 2, .stride_w = 3, .pad_top = 1, .pad_right = 1, .output_pad_h = 1, .output_pad_w = 2}},
      {{2, 4, 3, 8}, {1, 1, 8, 16}, {}}};
  for (const Case& c : cases) {
    const Shape shape = conv_transpose2d_output_shape(c.params, c.x, c.w);
    const Tensor x = input(c.x, 1), w = input(c.w, 2), bias = input({c.w[3]}, 3), dy = input(shape, 4);
    const auto run = [&](const auto& place, DType dtype, Device device) {
      const auto memory = [&](int64_t bytes) { return Tensor::empty({bytes}, DType::u8); };
      const Tensor px = place(x), pw = place(w), pbias = place(bias), pdy = place(dy);
      const Tensor y = Tensor::zeros(shape, dtype, device), dx = Tensor::zeros(c.x, dtype, device),
                   dw = Tensor::zeros(c.w, DType::f32, device);
      conv_transpose2d_forward(c.params, px.view(), pw.view(), pbias.view(), y.view(),
                               memory(conv_transpose2d_forward_workspace_bytes(c.params, c.x, c.w)).view());
      conv_transpose2d_data_gradient(
          c.params, pdy.view(), pw.view(), dx.view(),
          memory(conv_transpose2d_data_gradient_workspace_bytes(c.params, c.x, c.w)).view());
      conv_transpose2d_weight_gradient(
          c.params, px.view(), pdy.view(), dw.view(),
          memory(conv_transpose2d_weight_gradient_workspace_bytes(c.params, c.x, c.w)).view());
      return std::vector<Tensor>{y, dx, dw};
    };
    const auto expected = run([](const Tensor& t) { return t; }, host_dtype(), Device::cpu);
    const auto found = run([&](const Tensor& t) { return there(t); }, GetParam(), Device::cuda);
    const char* names[] = {"y", "dx", "dw"};
    for (size_t i = 0; i < expected.size(); ++i) expect_near(found[i], expected[i], names[i]);
  }
}

TEST_P(CudaProducts, Attention) {
  for (const int64_t heads : {1, 4}) {
    const int64_t n = 2, t = 50, c = 64;
    const AttentionParams params{heads};
    const Tensor qkv = input({n, t, 3 * c}, 1), d_o = input({n, t, c}, 2);
    std::vector<uint8_t> allowed(static_cast<size_t>(t * t), 1);
    for (int64_t i = 0; i < t; ++i)
      for (int64_t j = 0; j < t; ++j)
        if (j > i + 3 || i == t - 1) allowed[static_cast<size_t>(i * t + j)] = 0;
    Tensor mask = Tensor::empty({t, t}, DType::u8);
    std::copy(allowed.begin(), allowed.end(), mask.data<uint8_t>());
    const Shape out{n, t, c};
    const auto run = [&](const Tensor& all, const Tensor& gradient, const Tensor& m, const auto& empty,
                         const auto& bytes) {
      const Tensor o = empty(out, true), lse = empty({n, heads, t}, false), d = empty({n, t, 3 * c}, true);
      const auto part = [&](const Tensor& whole, int64_t i) {
        return whole.slice(2, i * c, (i + 1) * c).view();
      };
      const AttentionInputs in{part(all, 0), part(all, 1), part(all, 2), m.view()};
      attention_forward(params, in, o.view(), lse.view(), bytes(false).view());
      attention_backward(params, in, lse.view(), gradient.view(), {part(d, 0), part(d, 1), part(d, 2)},
                         bytes(true).view());
      return std::vector<Tensor>{o, d};
    };
    const auto expected = run(
        qkv, d_o, mask,
        [&](const Shape& s, bool activation) {
          return Tensor::zeros(s, activation ? host_dtype() : DType::f32);
        },
        [&](bool backward) {
          return Tensor::empty({backward ? attention_backward_workspace_bytes(params, out, out, host_dtype())
                                         : attention_forward_workspace_bytes(params, out, out, host_dtype())},
                               DType::u8);
        });
    const auto found = run(
        there(qkv), there(d_o), to_device(mask, Device::cuda),
        [&](const Shape& s, bool activation) { return zeros(s, activation ? GetParam() : DType::f32); },
        [](bool) { return Tensor::empty({0}, DType::u8); });
    expect_near(found[0], expected[0], "o");
    expect_near(found[1], expected[1], "d");
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaProducts, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

// Off unless asked for: products have errors of 1e-3 with it, of 1e-6 without.
TEST(CudaTf32, IsForThoseWhoAskForIt) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  const Tensor a = random_tensor({40, 64}, DType::f32, 1), b = random_tensor({64, 24}, DType::f32, 2);
  const Tensor oracle = Tensor::empty({40, 24}, DType::f64);
  const Tensor scratch =
      Tensor::empty({gemm_workspace_bytes({}, a.shape(), b.shape(), DType::f64)}, DType::u8);
  gemm({}, a.to(DType::f64).view(), b.to(DType::f64).view(), {}, oracle.view(), scratch.view());
  const auto error = [&] {
    const Tensor on_a = to_device(a, Device::cuda), on_b = to_device(b, Device::cuda);
    const Tensor c = Tensor::empty({40, 24}, DType::f32, Device::cuda);
    gemm({}, on_a.view(), on_b.view(), {}, c.view(), {});
    return max_error(to_device(c, Device::cpu), oracle);
  };
  const bool before = cuda_tf32_allowed();
  cuda_allow_tf32(false);
  EXPECT_LE(error(), 1e-5);
  cuda_allow_tf32(true);
  EXPECT_TRUE(cuda_tf32_allowed());
  const double rounded = error();
  EXPECT_GE(rounded, 3e-5);
  EXPECT_LE(rounded, 5e-3);
  cuda_allow_tf32(false);
  EXPECT_LE(error(), 1e-5);  // the choice of an algorithm is kept for each
  cuda_allow_tf32(before);
}

}  // namespace
}  // namespace tw::kernels
