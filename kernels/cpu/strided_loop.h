// StridedLoop: the shortest loop nest that walks several strided arrays of one shape in row-major order.
//
// Extents of one are dropped and neighbouring dimensions that every operand steps through evenly are merged:
// (n, h, w, c) against a broadcast (c) becomes two loops, two contiguous arrays become one.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "tensor/shape.h"

namespace tw::kernels {

struct StridedLoop {
  static constexpr int max_operands = 3;

  int rank = 1;  // at least 1
  int64_t extent[Shape::max_rank] = {1};
  int64_t stride[max_operands][Shape::max_rank] = {};  // in elements, 0 where broadcast
  int64_t numel = 1;

  int64_t inner() const { return extent[rank - 1]; }
  int64_t inner_stride(int operand) const { return stride[operand][rank - 1]; }
};

// Every strides has the rank of shape.
StridedLoop strided_loop(const Shape& shape, std::initializer_list<Shape> strides);

// Strides that walk an array of `shape` as if it had been broadcast to `to` (the numpy rule, checked before).
Shape broadcast_strides(const Shape& shape, const Shape& strides, const Shape& to);

// Calls f(position, length, offsets) for the parts of rows that elements [begin, end) fall into; offsets[k]
// is operand k's element offset of the first.
template <int operands, class F>
[[gnu::always_inline]] inline void for_each_run(const StridedLoop& loop, int64_t begin, int64_t end, F f) {
  if (begin >= end) return;
  int64_t index[Shape::max_rank] = {}, offsets[operands] = {};
  int64_t rest = begin;
  for (int i = loop.rank - 1; i >= 0; --i) {
    index[i] = rest % loop.extent[i];
    rest /= loop.extent[i];
    for (int k = 0; k < operands; ++k) offsets[k] += index[i] * loop.stride[k][i];
  }
  const int last = loop.rank - 1;
  for (int64_t position = begin; position < end;) {
    const int64_t left = loop.extent[last] - index[last];
    const int64_t length = left < end - position ? left : end - position;
    f(position, length, static_cast<const int64_t*>(offsets));
    position += length;
    for (int k = 0; k < operands; ++k) offsets[k] -= index[last] * loop.stride[k][last];
    index[last] = 0;
    for (int i = last - 1; i >= 0; --i) {
      for (int k = 0; k < operands; ++k) offsets[k] += loop.stride[k][i];
      if (++index[i] < loop.extent[i]) break;
      for (int k = 0; k < operands; ++k) offsets[k] -= loop.extent[i] * loop.stride[k][i];
      index[i] = 0;
    }
  }
}

}  // namespace tw::kernels
