// Random draws by key: element k of a stream depends on (key, k) and on nothing else, so the noise of a seed
// is the same for any batch size, thread count and order of drawing.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace tw {

// Standard normal, f32: elements [first, first + out.size()) of the key's stream. |value| < 6.7.
void fill_normal(std::span<float> out, const RandomKey& key, uint64_t first = 0);

// Uniform in [0, 1), f32, multiples of 2^-24.
void fill_uniform(std::span<float> out, const RandomKey& key, uint64_t first = 0);

// (n, ...per_sample) f32 where n = keys.size(): sample i is the normal stream of keys[i]. On a CUDA device
// the same bits are made there.
Tensor random_normal(const Shape& per_sample, std::span<const RandomKey> keys, Device device = Device::cpu);
// The same into `out`, (n, ...) f32, contiguous.
void fill_normal(Tensor& out, std::span<const RandomKey> keys);
// The same of keys in a CUDA device's memory, u8 (n, sizeof(RandomKey)), whose `step` is replaced by `draw`,
// (1) i64: for a captured step that draws anew each time.
void fill_normal(Tensor& out, const Tensor& keys, const Tensor& draw);
// Of the keys {seeds[i], 0, step, purpose}.
Tensor random_normal(const Shape& per_sample, std::span<const uint64_t> seeds, uint64_t step, Purpose purpose,
                     Device device = Device::cpu);

// An integer in [0, bound), number `index` of the key's stream. The bias is below bound / 2^64.
// Throws if bound is 0.
uint64_t random_below(const RandomKey& key, uint64_t index, uint64_t bound);

}  // namespace tw
