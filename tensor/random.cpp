// Normal draws (tensor/normal.h) cost about as much as their Philox blocks: the compiler vectorises both.
//
// This file is compiled without contraction into fused multiply-adds: every processor computes the same bits.
#include "tensor/random.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/normal.h"

namespace tw {
namespace {

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
      normal_pair(
          words.word[j][i], words.word[j + 1][i], [](float x) { return std::sqrt(x); }, values.value[j][i],
          values.value[j + 1][i]);
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

Tensor random_normal(const Shape& per_sample, std::span<const RandomKey> keys, Device device) {
  Shape shape{static_cast<int64_t>(keys.size())};
  for (int64_t extent : per_sample) shape.push_back(extent);
  Tensor result = Tensor::empty(shape, DType::f32, device);
  fill_normal(result, keys);
  return result;
}

void fill_normal(Tensor& out, std::span<const RandomKey> keys) {
  check(out.rank() >= 1 && out.dim(0) == static_cast<int64_t>(keys.size()) && out.dtype() == DType::f32 &&
            out.is_contiguous(),
        "fill_normal", "expected contiguous f32 for ", keys.size(), " keys, found ", dtype_name(out.dtype()),
        " ", out.shape());
  if (keys.empty()) return;
  const size_t each = static_cast<size_t>(out.numel()) / keys.size();
  if (out.device() == Device::cuda) {
    std::vector<RandomStream> streams;
    for (const RandomKey& key : keys) streams.push_back(random_stream(key));
    cuda_call("tw_cuda_random_normal", static_cast<const RandomStream*>(streams.data()),
              static_cast<int64_t>(keys.size()), static_cast<int64_t>(each), out.view().pointer);
  } else {
    for (size_t i = 0; i < keys.size(); ++i) fill_normal(out.span<float>().subspan(i * each, each), keys[i]);
  }
  out.bump_version();
}

void fill_normal(Tensor& out, const Tensor& keys, const Tensor& draw) {
  const auto n = static_cast<int64_t>(keys.nbytes() / sizeof(RandomKey));
  check(out.rank() >= 1 && out.dim(0) == n && out.dtype() == DType::f32 && out.is_contiguous(), "fill_normal",
        "expected contiguous f32 for ", n, " keys, found ", dtype_name(out.dtype()), " ", out.shape());
  check(draw.dtype() == DType::i64 && draw.numel() == 1, "fill_normal", "the draw must be one i64, found ",
        dtype_name(draw.dtype()), " ", draw.shape());
  for (const Tensor& tensor : {out, keys, draw})
    check(tensor.device() == Device::cuda, "fill_normal", "a draw in memory is for a CUDA device, found ",
          device_name(tensor.device()));
  if (n == 0) return;
  cuda_call("tw_cuda_random_normal_of_draw", static_cast<const void*>(keys.view().pointer),
            static_cast<const void*>(draw.view().pointer), n, out.numel() / n, out.view().pointer);
  out.bump_version();
}

Tensor random_normal(const Shape& per_sample, std::span<const uint64_t> seeds, uint64_t step, Purpose purpose,
                     Device device) {
  std::vector<RandomKey> keys;
  for (const uint64_t seed : seeds) keys.push_back({.seed = seed, .step = step, .purpose = purpose});
  return random_normal(per_sample, keys, device);
}

uint64_t random_below(const RandomKey& key, uint64_t index, uint64_t bound) {
  check(bound > 0, "random_below", "bound must not be 0");
  const PhiloxCounter block = random_block(random_stream(key), index);
  __extension__ using Wide = unsigned __int128;
  const uint64_t word = block.word[0] | static_cast<uint64_t>(block.word[1]) << 32;
  return static_cast<uint64_t>((static_cast<Wide>(word) * bound) >> 64);
}

}  // namespace tw
