// Sixteen Philox blocks at a time: the compiler makes vectors of the rounds.
#include "kernels/cpu/isa/dropout.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;

constexpr int blocks = 16;

template <class T>
void run_of(double p, const RandomStream& stream, int64_t block, const T* x, T* y, int64_t count) {
  using V = Compute<T>;
  using S = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const S scale = static_cast<S>(1 / (1 - p));
  const float threshold = static_cast<float>(p);
  for (int64_t i = 0; i < count; i += 4 * blocks, block += blocks) {
    uint32_t words[4][blocks];
    for (int b = 0; b < blocks; ++b) {
      const PhiloxCounter random = random_block(stream, static_cast<uint64_t>(block + b));
      for (int w = 0; w < 4; ++w) words[w][b] = random.word[w];
    }
    S factor[4 * blocks];
    for (int b = 0; b < blocks; ++b)
      for (int w = 0; w < 4; ++w)
        factor[4 * b + w] = uniform_of_word(words[w][b]) >= threshold ? scale : S(0);
    const int64_t left = count - i < 4 * blocks ? count - i : 4 * blocks;
    int64_t k = 0;
    for (; k + V::lanes <= left; k += V::lanes) (V::load(x + i + k) * V::load(factor + k)).store(y + i + k);
    if (k < left) (V::load(x + i + k, left - k) * V::load(factor + k)).store(y + i + k, left - k);
  }
}

void run(DType dtype, double p, const RandomStream& stream, int64_t block, const void* x, void* y,
         int64_t count) {
  auto as = [&]<class T>(T) {
    run_of(p, stream, block, static_cast<const T*>(x), static_cast<T*>(y), count);
  };
  if (dtype == DType::f64) return as(double{});
  if (dtype == DType::bf16) return as(bf16{});
  as(float{});
}

}  // namespace

template <>
const DropoutKernels& kernels_of<DropoutKernels, Isa::TW_ISA>() {
  static const DropoutKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
