#include "diffusion/inverse/mask.h"

#include <gtest/gtest.h>

#include <numeric>

#include "diffusion/inverse/operator.h"
#include "tensor/error.h"
#include "tests/random_tensor.h"

namespace tw {
namespace {

double dot(const Tensor& a, const Tensor& b) {
  const auto va = a.to_vector(), vb = b.to_vector();
  return std::inner_product(va.begin(), va.end(), vb.begin(), 0.0);
}

// <A x, y> = <x, A^T y>, and the recorded gradient is the same adjoint.
void expect_adjoint(const LinearOperator& A, const Shape& image) {
  const Tensor x = random_tensor(image, DType::f64, 1), y = random_tensor(A.apply(x).shape(), DType::f64, 2);
  EXPECT_NEAR(dot(A.apply(x), y), dot(x, A.adjoint(y)), 1e-10);
  const Var leaf = Var::leaf(x);
  EXPECT_EQ(grad({A.apply(leaf)}, {leaf}, {y})[0].to_vector(), A.adjoint(y).to_vector());
  // A A^+ A = A.
  EXPECT_EQ(A.apply(A.pseudo_inverse(A.apply(x))).to_vector(), A.apply(x).to_vector());
}

TEST(Mask, PassesTheAdjointTest) {
  expect_adjoint(*std::make_shared<Mask>(box_mask(5, 6, 1, 2, 3, 3)), {2, 5, 6, 3});
  expect_adjoint(*std::make_shared<Mask>(random_mask(5, 6, 0.5, 9)), {2, 5, 6, 1});
  Tensor per_channel = Tensor::full({5, 6, 3}, 1);
  per_channel.select(2, 1).fill(0);
  expect_adjoint(*std::make_shared<Mask>(per_channel), {2, 5, 6, 3});
}

TEST(Mask, OneIsKnownAndZeroIsMissing) {
  const Mask mask(box_mask(4, 4, 1, 1, 2, 2));
  const Tensor y = mask.apply(Tensor::full({1, 4, 4, 2}, 0.5));
  for (int64_t row = 0; row < 4; ++row)
    for (int64_t column = 0; column < 4; ++column) {
      const bool hole = (row == 1 || row == 2) && (column == 1 || column == 2);
      EXPECT_EQ(y.select(1, row).select(1, column).to_vector(), std::vector<double>(2, hole ? 0 : 0.5));
    }
  EXPECT_EQ(mask.known_fraction(), 0.75);
}

TEST(Mask, RandomMaskMissesExactlyTheFraction) {
  const Tensor mask = random_mask(10, 20, 0.92, 4);
  EXPECT_NEAR(Mask(mask).known_fraction(), 16 / 200.0, 1e-12);
  EXPECT_EQ(random_mask(10, 20, 0.92, 4).to_vector(), mask.to_vector());
  EXPECT_NE(random_mask(10, 20, 0.92, 5).to_vector(), mask.to_vector());
  EXPECT_EQ(Mask(random_mask(3, 3, 0, 1)).known_fraction(), 1);
  EXPECT_EQ(Mask(random_mask(3, 3, 1, 1)).known_fraction(), 0);
}

TEST(Mask, APictureIsKnownWhereItIsBright) {
  const Tensor picture = Tensor::from(std::vector<float>{1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1}, Shape{2, 2, 3});
  EXPECT_EQ(mask_from_image(picture, 0.5).to_vector(), (std::vector<double>{1, 0, 1, 0}));
}

TEST(Mask, RefusesWhatIsNotAMask) {
  EXPECT_THROW(Mask(Tensor::full({4, 4, 1}, 0.5)), Error);
  EXPECT_THROW(Mask(Tensor::full({4, 4}, 1)), Error);
  EXPECT_THROW(box_mask(4, 4, 3, 0, 2, 2), Error);
  EXPECT_THROW(random_mask(4, 4, 1.5, 0), Error);
  EXPECT_THROW(Mask(box_mask(4, 4, 0, 0, 1, 1)).apply(Tensor::zeros({1, 4, 5, 3})), Error);
}

TEST(MeasurementNoise, HasTheStatedUnitsAndIsKeyedPerImage) {
  const Tensor y = Tensor::zeros({2, 40, 40, 3});
  const std::vector<uint64_t> seeds{5, 6};
  const Tensor noisy = add_measurement_noise(y, 0.05, seeds);
  EXPECT_NEAR(dot(noisy, noisy) / 9600, 0.0025, 0.0002);
  EXPECT_EQ(add_measurement_noise(y.slice(0, 1, 2).clone(), 0.05, std::vector<uint64_t>{6}).to_vector(),
            noisy.slice(0, 1, 2).to_vector());
  EXPECT_EQ(add_measurement_noise(noisy, 0, seeds).to_vector(), noisy.to_vector());
  EXPECT_THROW(add_measurement_noise(y, 0.1, std::vector<uint64_t>{1}), Error);
  EXPECT_THROW(add_measurement_noise(y, -1, seeds), Error);
}

}  // namespace
}  // namespace tw
