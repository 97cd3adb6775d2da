#include "tensor/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "tensor/error.h"

namespace tw {
namespace {

void expect_words(const PhiloxCounter& found, std::vector<uint32_t> expected) {
  EXPECT_EQ(std::vector<uint32_t>(found.word, found.word + 4), expected);
}

// The known answers of philox4x32-10 published with the paper's library, Random123.
TEST(Philox, KnownAnswers) {
  expect_words(philox4x32({{0, 0, 0, 0}}, {{0, 0}}), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  expect_words(philox4x32({{~0u, ~0u, ~0u, ~0u}}, {{~0u, ~0u}}),
               {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  expect_words(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}}),
               {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(Philox, IsConstexpr) {
  static_assert(philox4x32({{0, 0, 0, 0}}, {{0, 0}}).word[0] == 0x6627e8d5);
  static_assert(uniform_of_word(0xffffffffu) < 1.0f);
}

std::vector<float> normals(size_t n, const RandomKey& key, uint64_t first = 0) {
  std::vector<float> out(n);
  fill_normal(out, key, first);
  return out;
}

TEST(Random, ElementDependsOnKeyAndIndexOnly) {
  const RandomKey key{.seed = 7, .sample = 3, .step = 11, .purpose = Purpose::step};
  const std::vector<float> all = normals(1000, key);
  for (size_t first : {0u, 1u, 2u, 3u, 4u, 255u, 256u, 257u, 999u})
    for (size_t n : {0u, 1u, 2u, 5u, 300u}) {
      const size_t count = std::min<size_t>(n, all.size() - first);
      EXPECT_EQ(normals(count, key, first),
                std::vector<float>(all.begin() + static_cast<long>(first),
                                   all.begin() + static_cast<long>(first + count)));
    }
  std::vector<float> uniform(100), tail(10);
  fill_uniform(uniform, key);
  fill_uniform(tail, key, 90);
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), uniform.begin() + 90));
}

TEST(Random, EveryPartOfTheKeyMatters) {
  const RandomKey base{.seed = 1, .sample = 2, .step = 3, .purpose = Purpose::start};
  std::vector<RandomKey> keys(8, base);
  keys[1].seed = 2;
  keys[2].seed += uint64_t{1} << 40;
  keys[3].sample += uint64_t{1} << 40;
  keys[4].step = 4;
  keys[5].step += uint64_t{1} << 40;
  keys[6].purpose = Purpose::step;
  keys[7].sample = 1;
  std::set<float> first;
  for (const RandomKey& key : keys) first.insert(normals(1, key)[0]);
  EXPECT_EQ(first.size(), keys.size());
}

// The same words through the mathematical library in double precision.
TEST(Random, NormalsFollowBoxAndMuller) {
  const RandomKey key{.seed = 99};
  const std::vector<float> found = normals(40000, key);
  const RandomStream stream = random_stream(key);
  double worst = 0;
  for (size_t k = 0; k < found.size(); k += 2) {
    const PhiloxCounter block = random_block(stream, k / 4);
    // u is rounded to f32: near 1 that is what limits the radius.
    const double u = static_cast<float>((block.word[k % 4] >> 1) * 0x1p-31 + 0x1p-32);
    const double angle = 2 * M_PI * (block.word[k % 4 + 1] * 0x1p-32), radius = std::sqrt(-2 * std::log(u));
    worst = std::max(worst, std::abs(found[k] - radius * std::cos(angle)));
    worst = std::max(worst, std::abs(found[k + 1] - radius * std::sin(angle)));
  }
  EXPECT_LT(worst, 2e-6);
}

TEST(Random, NormalMomentsAndTails) {
  const size_t n = 2000000;
  const std::vector<float> z = normals(n, {.seed = 5, .purpose = Purpose::training_noise});
  double moment[5] = {};
  size_t beyond2 = 0, beyond4 = 0;
  for (float value : z) {
    double power = 1;
    for (int i = 1; i <= 4; ++i) moment[i] += (power *= value) / static_cast<double>(n);
    beyond2 += std::abs(value) > 2;
    beyond4 += std::abs(value) > 4;
  }
  EXPECT_NEAR(moment[1], 0, 0.004);  // standard error 0.0007
  EXPECT_NEAR(moment[2], 1, 0.006);
  EXPECT_NEAR(moment[3], 0, 0.015);
  EXPECT_NEAR(moment[4], 3, 0.05);
  EXPECT_NEAR(static_cast<double>(beyond2) / static_cast<double>(n), 0.0455, 0.001);
  EXPECT_GT(beyond4, 70u);  // expected 127
  EXPECT_LT(beyond4, 200u);
}

TEST(Random, NeighboursAreUncorrelated) {
  const size_t n = 400000;
  const std::vector<float> z = normals(n, {.seed = 8});
  const std::vector<float> other = normals(n, {.seed = 8, .step = 1});
  for (size_t lag : {1u, 2u, 3u, 4u, 64u}) {
    double sum = 0;
    for (size_t i = 0; i + lag < n; ++i) sum += static_cast<double>(z[i]) * z[i + lag];
    EXPECT_NEAR(sum / static_cast<double>(n), 0, 0.008) << "lag " << lag;
  }
  EXPECT_NEAR(std::inner_product(z.begin(), z.end(), other.begin(), 0.0) / static_cast<double>(n), 0, 0.008);
}

TEST(Random, UniformIsInRangeAndEven) {
  std::vector<float> u(1000000);
  fill_uniform(u, {.seed = 4});
  std::vector<int> histogram(10);
  for (float value : u) {
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    ++histogram[static_cast<size_t>(value * 10)];
  }
  for (int count : histogram) EXPECT_NEAR(count, 100000, 1500);
}

TEST(Random, SampleOfABatchIsThatOfItsSeed) {
  const std::vector<uint64_t> seeds{5, 0, 123456789012345};
  const Tensor batch = random_normal({3, 5, 2}, seeds, 17, Purpose::step);
  EXPECT_EQ(batch.shape(), (Shape{3, 3, 5, 2}));
  for (size_t i = 0; i < seeds.size(); ++i) {
    const Tensor one = random_normal({3, 5, 2}, std::span(seeds).subspan(i, 1), 17, Purpose::step);
    EXPECT_EQ(one.to_vector(),
              batch.slice(0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1).to_vector());
  }
  EXPECT_EQ(random_normal({4}, {}, 0, Purpose::start).shape(), (Shape{0, 4}));
}

TEST(Random, BelowCoversItsRange) {
  const RandomKey key{.seed = 3, .purpose = Purpose::shuffle};
  std::vector<int> histogram(7);
  for (uint64_t i = 0; i < 70000; ++i) ++histogram[random_below(key, i, 7)];
  for (int count : histogram) EXPECT_NEAR(count, 10000, 500);
  EXPECT_EQ(random_below(key, 0, 1), 0u);
  EXPECT_LT(random_below(key, 1, ~uint64_t{0}), ~uint64_t{0});
  EXPECT_THROW(random_below(key, 0, 0), Error);
}

}  // namespace
}  // namespace tw
