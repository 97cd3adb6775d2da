// Algorithm: a row of sums of four floats a pixel, to which every tap adds its columns, shifted; then the
// terms. 16 additions of four lanes a pixel at 3x3, against 128 multiply-adds of 16 lanes in the product of
// 128 channels before.
#include "kernels/cpu/isa/tap_sum.h"

#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/vec.h"

namespace tw::kernels {
namespace {

typedef float Four __attribute__((vector_size(16)));

TW_INLINE Four load_four(const float* from) {
  Four v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

TW_INLINE float term(const View& view, int64_t at) {
  return view.dtype == DType::bf16 ? static_cast<float>(static_cast<const bf16*>(view.pointer)[at])
                                   : static_cast<const float*>(view.pointer)[at];
}

template <class T>
void finish_row(const TapGemm& g, int64_t sample, int64_t row, const float* line) {
  const int64_t columns = g.axes[2].grid, channels = g.channels;
  int64_t at = (sample * g.axes[1].output + row) * columns * channels;
  T* out = static_cast<T*>(g.output);
  for (int64_t p = 0; p < columns; ++p, line += 4)
    for (int64_t j = 0; j < channels; ++j, ++at) {
      float value = line[j];
      if (g.bias) value += term(g.bias, j);
      if (g.temb) value += term(g.temb, sample * channels + j);
      if (g.residual) value += term(g.residual, at);
      out[at] = T(value);
    }
}

void run(const TapSum& s, int64_t sample, int64_t row_begin, int64_t row_end, float* line) {
  const TapGemm& g = s.product;
  const TapAxis &height = g.axes[1], &width = g.axes[2];
  for (int64_t row = row_begin; row < row_end; ++row) {
    std::memset(line, 0, static_cast<size_t>(width.grid) * 4 * sizeof(float));
    for (int64_t tap = 0; tap < g.taps(); ++tap) {
      const int64_t y = row + height.offset + tap / width.taps * height.offset_step;
      if (y < 0 || y >= height.source) continue;
      const int64_t shift = width.offset + tap % width.taps * width.offset_step;
      const int64_t low = shift < 0 ? -shift : 0;
      const int64_t high = width.source - shift < width.grid ? width.source - shift : width.grid;
      const float* from =
          s.z + ((y - s.first_row) * width.source + low + shift) * s.z_stride + tap * g.channels;
      float* to = line + low * 4;
      for (int64_t p = low; p < high; ++p, from += s.z_stride, to += 4) {
        const Four sum = load_four(to) + load_four(from);
        std::memcpy(to, &sum, sizeof sum);
      }
    }
    if (g.output_dtype == DType::bf16)
      finish_row<bf16>(g, sample, row, line);
    else
      finish_row<float>(g, sample, row, line);
  }
}

}  // namespace

template <>
const TapSumKernels& kernels_of<TapSumKernels, Isa::TW_ISA>() {
  static const TapSumKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
