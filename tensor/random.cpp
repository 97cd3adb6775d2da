// Normal draws cost about as much as their Philox blocks: logarithm, sine and cosine are short polynomials
// that the compiler vectorises, instead of library calls.
//
// They use only +, -, * and sqrt in a fixed order, and this file is compiled without contraction into fused
// multiply-adds: every processor computes the same bits.
#include "tensor/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "tensor/error.h"

namespace tw {
namespace {

// ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln x = e ln 2 + ln m.
// The polynomial of ln(1 + f) is that of Moshier's Cephes library, error below 1 ulp.
inline float natural_log(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float f = std::bit_cast<float>(bits - (exponent << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  const float f2 = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f * f2;
  p = p + e * -2.12194440e-4f;  // ln 2 = 0.693359375 - 2.12194440e-4
  p = p - 0.5f * f2;
  return f + p + e * 0.693359375f;
}

// Two words give two independent standard normals.
inline void normal_pair(uint32_t word0, uint32_t word1, float& z0, float& z1) {
  const float u = static_cast<float>(static_cast<int32_t>(word0 >> 1)) * 0x1p-31f + 0x1p-32f;  // (0, 1]
  const float radius = std::sqrt(-2.0f * natural_log(u));
  // The angle 2 pi word1 / 2^32 as a quarter turn and a rest in [-pi/4, pi/4).
  const uint32_t shifted = word1 + 0x20000000u;
  const uint32_t quarter = shifted >> 30;
  const float rest =
      static_cast<float>(static_cast<int32_t>(shifted & 0x3fffffffu) - 0x20000000) * 1.46291807926715968e-9f;
  const float r2 = rest * rest;
  const float sine =
      rest + rest * r2 * (-1.6666654611e-1f + r2 * (8.3321608736e-3f + r2 * -1.9515295891e-4f));
  const float cosine =
      1.0f - 0.5f * r2 +
      r2 * r2 * (4.166664568298827e-2f + r2 * (-1.388731625493765e-3f + r2 * 2.443315711809948e-5f));
  const uint32_t swap = 0u - (quarter & 1u);  // all ones when sine and cosine change places
  const uint32_t s = std::bit_cast<uint32_t>(sine), c = std::bit_cast<uint32_t>(cosine);
  const uint32_t cosine_sign = ((quarter + 1u) & 2u) << 30, sine_sign = (quarter & 2u) << 30;
  z0 = radius * std::bit_cast<float>(((c & ~swap) | (s & swap)) ^ cosine_sign);
  z1 = radius * std::bit_cast<float>(((s & ~swap) | (c & swap)) ^ sine_sign);
}

// Blocks are drawn and transformed in small batches, kept as one array per word so that both loops vectorise.
constexpr int batch = 64;
struct Words {
  uint32_t word[4][batch];
};
struct Values {
  float value[4][batch];
};

void draw(const RandomStream& stream, uint64_t first_block, Words& words) {
  for (int i = 0; i < batch; ++i) {
    const PhiloxCounter block = random_block(stream, first_block + static_cast<uint64_t>(i));
    for (int j = 0; j < 4; ++j) words.word[j][i] = block.word[j];
  }
}

void to_normal(const Words& words, Values& values) {
  for (int j = 0; j < 4; j += 2)
    for (int i = 0; i < batch; ++i)
      normal_pair(words.word[j][i], words.word[j + 1][i], values.value[j][i], values.value[j + 1][i]);
}

void to_uniform(const Words& words, Values& values) {
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < batch; ++i) values.value[j][i] = uniform_of_word(words.word[j][i]);
}

template <class Transform>
void fill(std::span<float> out, const RandomKey& key, uint64_t first, Transform transform) {
  const RandomStream stream = random_stream(key);
  Words words;
  Values values;
  for (size_t done = 0; done < out.size();) {
    const uint64_t element = first + done, block = element / 4;
    draw(stream, block, words);
    transform(words, values);
    const size_t skip = static_cast<size_t>(element % 4);
    const size_t count = std::min<size_t>(4 * batch - skip, out.size() - done);
    for (size_t k = 0; k < count; ++k) out[done + k] = values.value[(k + skip) % 4][(k + skip) / 4];
    done += count;
  }
}

}  // namespace

void fill_normal(std::span<float> out, const RandomKey& key, uint64_t first) {
  fill(out, key, first, to_normal);
}

void fill_uniform(std::span<float> out, const RandomKey& key, uint64_t first) {
  fill(out, key, first, to_uniform);
}

Tensor random_normal(const Shape& per_sample, std::span<const uint64_t> seeds, uint64_t step,
                     Purpose purpose) {
  Shape shape{static_cast<int64_t>(seeds.size())};
  for (int64_t extent : per_sample) shape.push_back(extent);
  Tensor result = Tensor::empty(shape);
  const size_t each = static_cast<size_t>(per_sample.numel());
  for (size_t i = 0; i < seeds.size(); ++i)
    fill_normal(result.span<float>().subspan(i * each, each),
                {.seed = seeds[i], .step = step, .purpose = purpose});
  return result;
}

uint64_t random_below(const RandomKey& key, uint64_t index, uint64_t bound) {
  check(bound > 0, "random_below", "bound must not be 0");
  const PhiloxCounter block = random_block(random_stream(key), index);
  __extension__ using Wide = unsigned __int128;
  const uint64_t word = block.word[0] | static_cast<uint64_t>(block.word[1]) << 32;
  return static_cast<uint64_t>((static_cast<Wide>(word) * bound) >> 64);
}

}  // namespace tw
