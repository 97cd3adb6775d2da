// Standard normals from counter-based streams, one a sample: a thread turns one Philox block into four
// neighbours. Compiled without fused multiply-adds: the bits are the CPU's (tensor/normal.h).
#include "kernels/cuda/library.h"
#include "tensor/normal.h"
#include "tensor/philox.h"

namespace tw::cuda {
namespace {

// A launch's parameters hold 4 KiB.
constexpr int most_streams = 128;
struct Streams {
  RandomStream of[most_streams];
};

struct Root {
  __host__ __device__ float operator()(float x) const { return sqrtf(x); }
};

// The streams of keys in memory, of the draw whose number is there too.
struct StreamsOfDraw {
  const RandomKey* keys;
  const int64_t* draw;
};

__device__ RandomStream stream_of(const Streams& streams, int64_t sample) { return streams.of[sample]; }
__device__ RandomStream stream_of(const StreamsOfDraw& streams, int64_t sample) {
  RandomKey key = streams.keys[sample];
  key.step = static_cast<uint64_t>(*streams.draw);
  return random_stream(key);
}

template <class Of>
__global__ void normal_kernel(Of streams, int64_t each, int64_t blocks, int64_t n, float* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t sample = i / blocks, block = i % blocks;
    const PhiloxCounter random = random_block(stream_of(streams, sample), static_cast<uint64_t>(block));
    float value[4];
    normal_pair(random.word[0], random.word[1], Root(), value[0], value[1]);
    normal_pair(random.word[2], random.word[3], Root(), value[2], value[3]);
    for (int k = 0; k < 4 && 4 * block + k < each; ++k) y[sample * each + 4 * block + k] = value[k];
  }
}

}  // namespace

// `each` elements from every one of `n` streams.
TW_CUDA_EXPORT tw_cuda_random_normal(const RandomStream* streams, int64_t n, int64_t each, void* y) {
  const int64_t blocks = (each + 3) / 4;
  for (int64_t first = 0; first < n && each > 0; first += most_streams) {
    const int64_t here = n - first < most_streams ? n - first : most_streams;
    Streams passed;
    for (int64_t i = 0; i < here; ++i) passed.of[i] = streams[first + i];
    launch(normal_kernel<Streams>, blocks_for(here * blocks), threads, passed, each, blocks, here * blocks,
           static_cast<float*>(y) + first * each);
    if (const char* failed = launched("random_normal")) return failed;
  }
  return nullptr;
}

// The same from keys in memory, whose `step` is the number at `draw`.
TW_CUDA_EXPORT tw_cuda_random_normal_of_draw(const void* keys, const void* draw, int64_t n, int64_t each,
                                             void* y) {
  const int64_t blocks = (each + 3) / 4;
  if (n * blocks == 0) return nullptr;
  launch(normal_kernel<StreamsOfDraw>, blocks_for(n * blocks), threads,
         StreamsOfDraw{static_cast<const RandomKey*>(keys), static_cast<const int64_t*>(draw)}, each, blocks,
         n * blocks, static_cast<float*>(y));
  return launched("random_normal_of_draw");
}

}  // namespace tw::cuda
