// Philox 4x32-10: a random function, not a generator: 128 bits of counter and 64 bits of key give 128 random
// bits.
//
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Ten rounds of two 32x32
// multiplications; there is no state, so any element of a stream can be computed first, on any thread or
// device.
//
// Everything here is constexpr, without library calls: host code, every instruction set and CUDA (nvcc
// --expt-relaxed-constexpr) compile the same lines.
#pragma once

#include <cstdint>

namespace tw {

struct PhiloxCounter {
  uint32_t word[4];
};
struct PhiloxKey {
  uint32_t word[2];
};

[[gnu::always_inline]] constexpr inline PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * c0, product1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(product0);
    k0 += 0x9E3779B9u;  // the golden ratio
    k1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return {{c0, c1, c2, c3}};
}

// What a random number is for: two purposes never share numbers.
enum class Purpose : uint32_t {
  start,           // x_T
  step,            // noise of one sampling step
  training_noise,  // epsilon of one training example
  timestep,
  dropout,
  augmentation,
  initialisation,
  shuffle,
  measurement,  // noise of an inverse problem's observation
};

// Names a stream of random numbers. Equal keys give equal streams, whatever the batch, thread or device.
struct RandomKey {
  uint64_t seed = 0;
  uint64_t sample = 0;  // which image of the seed; which example of the data set
  uint64_t step = 0;    // which step of the loop
  Purpose purpose = Purpose::start;
};

// The stream of a key, ready to draw from: block b is four words, element k of a stream sits in block k / 4.
struct RandomStream {
  PhiloxKey key;
  uint32_t tail[2];
};

// One application of Philox spreads (sample, step) over 128 bits under the seed; 64 of them become the key
// and 64 the upper half of the counter, where the purpose is mixed in. The lower half of the counter is the
// block.
[[gnu::always_inline]] constexpr inline RandomStream random_stream(const RandomKey& key) {
  const PhiloxCounter mixed =
      philox4x32({{static_cast<uint32_t>(key.sample), static_cast<uint32_t>(key.sample >> 32),
                   static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32)}},
                 {{static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)}});
  return {{{mixed.word[0], mixed.word[1]}},
          {mixed.word[2], mixed.word[3] ^ static_cast<uint32_t>(key.purpose)}};
}

[[gnu::always_inline]] constexpr inline PhiloxCounter random_block(const RandomStream& stream,
                                                                   uint64_t block) {
  return philox4x32(
      {{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), stream.tail[0], stream.tail[1]}},
      stream.key);
}

// Uniform in [0, 1), a multiple of 2^-24.
[[gnu::always_inline]] constexpr inline float uniform_of_word(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f;
}

}  // namespace tw
