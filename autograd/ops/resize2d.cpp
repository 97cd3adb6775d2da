// Rows first, then columns; the image in between is f32 for 16-bit images.
#include "autograd/ops/resize2d.h"

#include "autograd/ops/avg_pool2d.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

struct Table {  // on the host
  Tensor first, count, weight;
};

Table empty_table(int64_t rows, int64_t taps) {
  return {Tensor::empty({rows}, DType::i32), Tensor::empty({rows}, DType::i32),
          Tensor::empty({rows, taps}, DType::f64)};
}

Table table_for(const kernels::ResizeAxis& axis) {
  Table t = empty_table(axis.out, kernels::resize_taps(axis));
  kernels::resize_table(axis, t.first.view(), t.count.view(), t.weight.view());
  return t;
}

Table transposed(const Table& t, int64_t in) {
  Table r = empty_table(in, kernels::resize_transposed_taps(in, t.first.view(), t.count.view()));
  kernels::resize_transpose_table(t.first.view(), t.count.view(), t.weight.view(), r.first.view(),
                                  r.count.view(), r.weight.view());
  return r;
}

Tensor apply(const Table& t, const Tensor& x, int axis, DType result) {
  const Shape& s = x.shape();
  const int64_t outer = axis == 1 ? s[0] : s[0] * s[1], inner = axis == 1 ? s[2] * s[3] : s[3];
  const int64_t rows = t.first.dim(0);
  const Device device = x.device();
  const Tensor y = Tensor::empty(s.with(axis, rows), result, device);
  kernels::resize_axis(x.reshape({outer, s[axis], inner}).view(), to_device(t.first, device).view(),
                       to_device(t.count, device).view(), to_device(t.weight, device).view(),
                       y.reshape({outer, rows, inner}).view());
  return y;
}

}  // namespace

Var resize2d(const Var& x, int64_t ho, int64_t wo, kernels::ResizeMode mode, bool antialias) {
  const Shape& s = x.shape();
  check(s.rank() == 4, "resize2d", "expected (n, h, w, c), found ", s);
  if (mode == kernels::ResizeMode::nearest && ho == 2 * s[1] && wo == 2 * s[2]) return upsample_nearest2x(x);
  const Table rows = table_for({.mode = mode, .in = s[1], .out = ho, .antialias = antialias});
  const Table columns = table_for({.mode = mode, .in = s[2], .out = wo, .antialias = antialias});
  const DType dtype = x.dtype(), between = dtype == DType::f64 ? dtype : DType::f32;
  Tensor y = apply(columns, apply(rows, x.value().contiguous(), 1, between), 2, dtype);
  if (!wants_gradient({x})) return Var(y);
  return record("resize2d", y, {x}, [rows, columns, s, dtype, between](const Tensor& dy, Gradients& grads) {
    const Tensor g = apply(transposed(columns, s[2]), dy, 2, between);
    grads.add(0, apply(transposed(rows, s[1]), g, 1, dtype));
  });
}

}  // namespace tw
