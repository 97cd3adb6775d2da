// Weights that a caller keeps turned on a device against weights that each call turns.
#include <gtest/gtest.h>

#include "kernels/op/conv2d.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw::kernels {
namespace {

class CudaPackedWeights : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
  static Tensor on_device(const Shape& shape, DType dtype, unsigned seed) {
    return to_device(random_tensor(shape, dtype, seed), Device::cuda);
  }
};

TEST_P(CudaPackedWeights, GiveTheSame) {
  struct Case {
    Conv2dParams params;
    Shape w;
    bool packs;
  };
  for (const auto& [params, w_shape, packs] :
       {Case{{.pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1}, {3, 3, 8, 16}, true},
        Case{{.stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1}, {3, 3, 8, 8}, true},
        Case{{}, {1, 1, 8, 16}, false}, Case{{.stride_h = 2, .stride_w = 2}, {1, 1, 8, 8}, true}}) {
    const DType dtype = GetParam();
    const Tensor x = on_device({2, 6, 5, 8}, dtype, 1), w = on_device(w_shape, DType::f32, 2);
    const Tensor nowhere = Tensor::zeros(w_shape, DType::f32, Device::cuda);  // whose values nobody reads
    const Conv2dProblem problem{params, x.shape(), w_shape, dtype, false, Device::cuda};
    const int64_t bytes = conv2d_packed_bytes(problem, Conv2dPass::forward);
    EXPECT_EQ(bytes, packs ? w.numel() * static_cast<int64_t>(dtype_size(dtype)) : 0);
    const Tensor packed = Tensor::empty({bytes}, DType::u8, Device::cuda), &given = packs ? nowhere : w;
    conv2d_pack_weights(problem, w.view(), Conv2dPass::forward, packed.view());
    const Shape y_shape = conv2d_output_shape(params, x.shape(), w_shape);
    const Tensor y = Tensor::empty(y_shape, dtype, Device::cuda),
                 same = Tensor::empty(y_shape, dtype, Device::cuda);
    conv2d_forward(params, x.view(), w.view(), {}, y.view(), {});
    conv2d_forward(params, x.view(), given.view(), {}, same.view(), {}, packed.view());
    EXPECT_EQ(same.to_vector(), y.to_vector());
    const Tensor dx = Tensor::empty(x.shape(), dtype, Device::cuda),
                 dx_same = Tensor::empty(x.shape(), dtype, Device::cuda);
    conv2d_data_gradient(params, y.view(), w.view(), dx.view(), {});
    conv2d_data_gradient(params, y.view(), given.view(), dx_same.view(), {}, packed.view());
    EXPECT_EQ(dx_same.to_vector(), dx.to_vector());
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaPackedWeights, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace tw::kernels
