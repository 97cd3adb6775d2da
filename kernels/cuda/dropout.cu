// y = x / (1 - p) where the element's random number is at least p, else 0: the numbers, and so the mask, are
// the CPU's. A thread computes one Philox block, hence four neighbours of a sample.
#include "kernels/cuda/element.h"
#include "kernels/op/dropout.h"

namespace tw::cuda {
namespace {

template <class T>
__global__ void dropout_kernel(kernels::DropoutParams params, const typename Element<T>::Memory* x,
                               int64_t each, int64_t blocks, int64_t n, typename Element<T>::Memory* y) {
  using V = typename Element<T>::Value;
  const V scale = static_cast<V>(1 / (1 - params.p));
  const float threshold = static_cast<float>(params.p);
  const auto* in_memory = static_cast<const RandomKey*>(params.key_in_memory.pointer);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t sample = i / blocks, block = i % blocks;
    RandomKey key = in_memory ? *in_memory : params.key;
    key.sample += static_cast<uint64_t>(sample);
    key.purpose = Purpose::dropout;
    const PhiloxCounter random = random_block(random_stream(key), static_cast<uint64_t>(block));
    for (int w = 0; w < 4 && 4 * block + w < each; ++w) {
      const int64_t at = sample * each + 4 * block + w;
      const V factor = uniform_of_word(random.word[w]) >= threshold ? scale : V(0);
      y[at] = Element<T>::store(Element<T>::load(x[at]) * factor);
    }
  }
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_dropout(const kernels::DropoutParams* params, const View* x, const View* y) {
  if (x->numel() == 0) return nullptr;
  return for_float("dropout", x->dtype, [&]<class T>(T) {
    using M = typename Element<T>::Memory;
    const int64_t each = x->numel() / x->shape[0], blocks = (each + 3) / 4, n = x->shape[0] * blocks;
    launch(dropout_kernel<T>, blocks_for(n), threads, *params, static_cast<const M*>(x->pointer), each,
           blocks, n, static_cast<M*>(y->pointer));
    return launched("dropout");
  });
}

}  // namespace tw::cuda
