// Fourier transforms on a device against the CPU's.
#include <gtest/gtest.h>

#include "kernels/op/cuda.h"
#include "kernels/op/fft2d.h"
#include "tensor/cuda_graph.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

class CudaFft2d : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  // f(x, y, workspace) from x to a tensor of `result` on both devices; x must stay as it is.
  template <class F>
  void expect_same(const Tensor& x, const Shape& result, int64_t workspace_bytes, F f) const {
    const Tensor y = Tensor::empty(result, x.dtype()),
                 workspace = Tensor::empty({workspace_bytes}, DType::u8);
    f(x.view(), y.view(), workspace.view());
    const Tensor there = to_device(x, Device::cuda), found = Tensor::empty(result, x.dtype(), Device::cuda);
    f(there.view(), found.view(), View{});
    EXPECT_LE(max_error(to_device(found, Device::cpu), y), x.dtype() == DType::f64 ? 1e-12 : 1e-5);
    EXPECT_EQ(max_error(to_device(there, Device::cpu), x), 0) << "x was changed";
  }
};

TEST_P(CudaFft2d, MatchesTheCpu) {
  // One channel, several; odd numbers of elements, whose second image is aligned to one real number only;
  // more images than channels, and than it takes to move them to planes.
  for (const Shape& image : {Shape{3, 8, 6, 1}, Shape{2, 7, 12, 3}, Shape{3, 5, 9, 3}, Shape{1, 1, 16, 5},
                             Shape{2, 9, 1, 2}, Shape{5, 5, 9, 3}, Shape{6, 8, 6, 2}, Shape{5, 3, 4, 9}}) {
    SCOPED_TRACE(detail::join(image));
    const int64_t n = image[0], h = image[1], w = image[2], c = image[3];
    const Shape complex{n, h, w, c, 2}, half{n, h, w / 2 + 1, c, 2};
    for (const bool centred : {false, true})
      for (const bool inverse : {false, true})
        expect_same(random_tensor(complex, GetParam(), 1), complex, fft2d_workspace_bytes(image, GetParam()),
                    [&](const View& x, const View& y, const View& workspace) {
                      fft2d({inverse, centred, centred == inverse ? 0.5 : 1}, x, y, workspace);
                    });
    for (const RealFft2dParams params : {RealFft2dParams{}, RealFft2dParams{0.5, 3}}) {
      expect_same(
          random_tensor(image, GetParam(), 1), half, fft2d_workspace_bytes(image, GetParam()),
          [&](const View& x, const View& y, const View& workspace) { rfft2d(params, x, y, workspace); });
      expect_same(
          random_tensor(half, GetParam(), 1), image, irfft2d_workspace_bytes(image, GetParam()),
          [&](const View& x, const View& y, const View& workspace) { irfft2d(params, x, y, workspace); });
    }
  }
}

TEST_P(CudaFft2d, InPlace) {
  for (const bool centred : {false, true}) {
    const Tensor x = to_device(random_tensor({2, 6, 5, 3, 2}, GetParam(), 1), Device::cuda);
    const Tensor y = Tensor::empty(x.shape(), GetParam(), Device::cuda);
    fft2d({.centred = centred}, x.view(), y.view(), {});
    fft2d({.centred = centred}, x.view(), x.view(), {});
    EXPECT_EQ(max_error(to_device(x, Device::cpu), to_device(y, Device::cpu)), 0);
  }
}

TEST_P(CudaFft2d, ManyImagesTakeNoMoreLaunchesThanFew) {
  const auto nodes = [&](int64_t n, auto f) {
    const Tensor x = Tensor::zeros({n, 4, 6, 3}, GetParam(), Device::cuda);
    const Tensor z = Tensor::zeros({n, 4, 6, 3, 2}, GetParam(), Device::cuda);
    const Tensor half = Tensor::zeros({n, 4, 4, 3, 2}, GetParam(), Device::cuda);
    const auto body = [&] { f(x.view(), z.view(), half.view()); };
    body();
    CudaGraph graph;
    graph.capture(body);
    return graph.nodes();
  };
  const auto complex = [](const View&, const View& z, const View&) { fft2d({}, z, z, {}); };
  const auto real = [](const View& x, const View&, const View& half) { rfft2d({}, x, half, {}); };
  EXPECT_EQ(nodes(40, complex), nodes(3, complex));
  EXPECT_EQ(nodes(40, real), nodes(5, real));
  EXPECT_EQ(nodes(2, complex), nodes(3, complex) - 1);
}

// The plan is made by the first call; its work area and ours are nodes of the graph.
TEST_P(CudaFft2d, CanBeCaptured) {
  const auto run = [&](bool captured) {
    const Tensor x = to_device(random_tensor({2, 5, 9, 3}, GetParam(), 1), Device::cuda);
    const Tensor half = Tensor::empty({2, 5, 5, 3, 2}, GetParam(), Device::cuda);
    const auto body = [&] {
      rfft2d({.scale = 0.5}, x.view(), half.view(), {});
      fft2d({.centred = true, .scale = 0.1}, half.view(), half.view(), {});
      irfft2d({}, half.view(), x.view(), {});
    };
    body();
    CudaGraph graph;
    if (captured) graph.capture(body);
    for (int i = 0; i < 2; ++i) captured ? graph.launch() : body();
    return to_device(x, Device::cpu).to_vector();
  };
  EXPECT_EQ(run(true), run(false));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaFft2d, testing::Values(DType::f32, DType::f64),
                         [](const auto& info) { return dtype_name(info.param); });

}  // namespace
}  // namespace tw::kernels
