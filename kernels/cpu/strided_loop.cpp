#include "kernels/cpu/strided_loop.h"

namespace tw::kernels {

StridedLoop strided_loop(const Shape& shape, std::initializer_list<Shape> strides) {
  StridedLoop loop;
  const int operands = static_cast<int>(strides.size());
  const Shape* in = strides.begin();
  int rank = 0;
  for (int i = 0; i < shape.rank(); ++i) {
    loop.numel *= shape[i];
    if (shape[i] == 1) continue;
    bool merges = rank > 0;
    for (int k = 0; k < operands && merges; ++k) merges = loop.stride[k][rank - 1] == in[k][i] * shape[i];
    if (merges) {
      loop.extent[rank - 1] *= shape[i];
    } else {
      loop.extent[rank++] = shape[i];
    }
    for (int k = 0; k < operands; ++k) loop.stride[k][rank - 1] = in[k][i];
  }
  if (rank > 0) {
    loop.rank = rank;
  } else {  // one element: any stride does, and 1 leads to the contiguous code
    for (int k = 0; k < operands; ++k) loop.stride[k][0] = 1;
  }
  return loop;
}

Shape broadcast_strides(const Shape& shape, const Shape& strides, const Shape& to) {
  Shape result = to;
  const int extra = to.rank() - shape.rank();
  for (int i = 0; i < to.rank(); ++i)
    result[i] = i < extra || (shape[i - extra] == 1 && to[i] != 1) ? 0 : strides[i - extra];
  return result;
}

}  // namespace tw::kernels
