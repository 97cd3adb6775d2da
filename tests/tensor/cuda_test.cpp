// CUDA tensors: what happens without a device is tested everywhere, the rest where there is one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/allocation_label.h"
#include "tensor/cuda_library.h"
#include "tensor/random.h"
#include "tensor/transfer.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

TEST(CudaWithoutDevice, AskingForATensorSaysWhy) {
  if (cuda_available()) GTEST_SKIP() << "there is a device";
  const std::string reason = cuda_unavailable_reason();
  EXPECT_THAT(reason,
              testing::AnyOf(testing::HasSubstr("no CUDA driver"), testing::HasSubstr("no CUDA device"),
                             testing::HasSubstr("built without CUDA")));
  for (const auto& ask : {std::function<void()>([] { Tensor::empty({2}, DType::f32, Device::cuda); }),
                          std::function<void()>([] { to_device(Tensor::zeros({2}), Device::cuda); }),
                          std::function<void()>([] { cuda_pool(); })}) {
    try {
      ask();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), testing::HasSubstr(reason));
    }
  }
  EXPECT_EQ(to_device(Tensor::full({2}, 3), Device::cpu).to_vector(), (std::vector<double>{3, 3}));
}

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << cuda_unavailable_reason();
  }
};

TEST_F(CudaTest, ThereAndBackAgain) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
    const Tensor host = random_tensor({3, 1001}, dtype, 4, 100), device = to_device(host, Device::cuda);
    EXPECT_EQ(device.device(), Device::cuda);
    EXPECT_EQ(to_device(device.clone(), Device::cpu).to_vector(), host.to_vector()) << dtype_name(dtype);
    EXPECT_EQ(device.to_vector(), host.to_vector());
  }
  EXPECT_EQ(to_device(random_tensor({4, 5}).permute({1, 0}), Device::cuda).to_vector(),
            random_tensor({4, 5}).permute({1, 0}).to_vector());
  EXPECT_EQ(to_device(Tensor::zeros({0, 3}), Device::cuda).numel(), 0);
}

TEST_F(CudaTest, Fill) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8})
    for (int64_t n : {1, 1000, 100'003})
      EXPECT_EQ(Tensor::full({n}, 5, dtype, Device::cuda).to_vector(),
                std::vector<double>(static_cast<size_t>(n), 5));
}

TEST_F(CudaTest, CopiesWithStridesAndDtypes) {
  const Tensor host = random_tensor({4, 6, 5}), device = to_device(host, Device::cuda);
  const auto turned = [](const Tensor& t) { return t.permute({2, 0, 1}).slice(1, 1, 3); };
  EXPECT_EQ(turned(device).clone().to_vector(), turned(host).to_vector());
  EXPECT_EQ(turned(device).to(DType::bf16).to_vector(), turned(host).to(DType::bf16).to_vector());
  EXPECT_EQ(turned(device).to_vector(), turned(host).to_vector());
  EXPECT_EQ(device.slice(1, 2, 3).broadcast_to({4, 6, 5}).clone().to_vector(),
            host.slice(1, 2, 3).broadcast_to({4, 6, 5}).to_vector());
  // Between the devices too, whatever both sides look like.
  for (const Device from : {Device::cpu, Device::cuda})
    for (const Device to : {Device::cpu, Device::cuda}) {
      Tensor x = Tensor::zeros({4, 6, 5}, DType::f64, to);
      Tensor(turned(x)).copy_from(turned(to_device(host, from)));
      Tensor(x.slice(1, 4, 6)).fill(7);
      Tensor expected = Tensor::zeros({4, 6, 5}, DType::f64);
      Tensor(turned(expected)).copy_from(turned(host));
      Tensor(expected.slice(1, 4, 6)).fill(7);
      EXPECT_EQ(x.to_vector(), expected.to_vector()) << device_name(from) << " to " << device_name(to);
    }
}

TEST_F(CudaTest, NormalsAreTheBitsOfTheCpu) {
  std::vector<uint64_t> seeds;
  for (uint64_t i = 0; i < 200; ++i) seeds.push_back(i * i);
  for (const Shape& shape : {Shape{31, 7}, Shape{1}, Shape{4, 16}}) {
    const Tensor host = random_normal(shape, seeds, 3, Purpose::step);
    EXPECT_EQ(random_normal(shape, seeds, 3, Purpose::step, Device::cuda).to_vector(), host.to_vector());
  }
}

TEST_F(CudaTest, HostAccessIsRefused) {
  const Tensor device = Tensor::zeros({4}, DType::f32, Device::cuda);
  EXPECT_THROW(device.data<float>(), Error);
  EXPECT_THROW(Tensor::empty({int64_t{1} << 50}, DType::f32, Device::cuda), Error);
}

// More than two of the staging buffers, and not a whole number of them.
TEST_F(CudaTest, LargeCopiesThroughStagingBuffers) {
  const int64_t n = (int64_t{9} << 20) + 13;
  Tensor host = random_tensor({n}, DType::u8, 1, 100);
  const Tensor device = to_device(host, Device::cuda), same = host.clone();
  host.fill(0);  // the copy has its values already
  const Tensor back = to_device(device, Device::cpu);
  EXPECT_EQ(std::memcmp(back.data<uint8_t>(), same.data<uint8_t>(), static_cast<size_t>(n)), 0);
}

TEST_F(CudaTest, MemoryIsCounted) {
  const int64_t before = cuda_memory().tensors;
  cuda_reset_peak();
  {
    const Tensor a = Tensor::empty({1000}, DType::f32, Device::cuda);
    EXPECT_EQ(cuda_memory().tensors, before + 4000);
    const Tensor b = Tensor::empty({10}, DType::f64, Device::cuda);
  }
  const CudaMemory after = cuda_memory();
  EXPECT_EQ(after.tensors, before);
  EXPECT_EQ(after.scratch, 0);
  EXPECT_EQ(after.peak, before + 4080);
  EXPECT_LE(after.free, after.total);
  cuda_pool()->trim();
  cuda_wait();
}

TEST_F(CudaTest, OutOfMemorySaysWhatIsHeld) {
  const Tensor held = Tensor::empty({1000}, DType::f32, Device::cuda);
  const AllocationName name("down.0/conv1");
  const int64_t n = int64_t{1} << 46;
  try {
    Tensor::empty({n}, DType::f32, Device::cuda);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr(std::to_string(4 * n) + " bytes asked for"),
                                             testing::HasSubstr("'down.0/conv1'"),
                                             testing::HasSubstr(" bytes held by tensors"),
                                             testing::HasSubstr(" free on the device")));
  }
  Tensor::zeros({1000}, DType::f32, Device::cuda);  // the next call is not affected
}

TEST_F(CudaTest, OneDeviceAProgram) {
  use_cuda_device(0);
  EXPECT_THROW(use_cuda_device(1), Error);
}

// In a program of its own, which has opened no device.
TEST(CudaDeathTest, ADeviceThatDoesNotExist) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto says = [](const char* text) {
    return cuda_unavailable_reason().find(text) != std::string::npos;
  };
  EXPECT_EXIT(
      {
        use_cuda_device(77);
        std::fputs(cuda_unavailable_reason().c_str(), stderr);
        std::exit(says("no CUDA device 77 on this machine, which has ") ? 0 : 3);
      },
      [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) == (cuda_available() ? 0 : 3); }, "");
}

}  // namespace
}  // namespace tw
