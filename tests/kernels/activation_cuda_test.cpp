#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/op/activation.h"
#include "kernels/op/cuda.h"
#include "tensor/cuda_library.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

TEST(ActivationCuda, SaysWhyItCannotRun) {
  if (cuda_available()) GTEST_SKIP() << "there is a device";
  // A view that claims to be on the device: nothing of it may be touched.
  View x = Tensor::zeros({4}).view();
  x.device = Device::cuda;
  try {
    kernels::activation_forward({}, x, x);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(kernels::cuda::built() ? "CUDA" : "built without CUDA"));
  }
}

TEST(ActivationCuda, SiluMatchesTheCpu) {
  if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  for (DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (int64_t n : {1, 255, 256, 257, 100'003}) {
      const Tensor x = random_tensor({n}, dtype, 1, 6), y = Tensor::empty({n}, dtype);
      kernels::activation_forward({}, x.view(), y.view());
      const Tensor device = to_device(x, Device::cuda);
      kernels::activation_forward({}, device.view(), device.view());
      EXPECT_LT(max_error(device, y), dtype == DType::bf16 ? 1e-2 : 1e-6) << dtype_name(dtype) << " " << n;
    }
}

}  // namespace
}  // namespace tw
