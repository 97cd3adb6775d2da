// The tables are built in f64 and are tiny; the passes are sums of a few scaled rows.
#include "kernels/op/resize.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/resize.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t grain_elements = 8192;

// Keys' cubic with free parameter a.
double cubic(double d, double a) {
  d = std::abs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((d - 5) * d + 8) * d * a - 4 * a;
  return 0;
}

double triangle(double d) { return std::max(0.0, 1 - std::abs(d)); }

double radius(ResizeMode mode) { return mode == ResizeMode::bicubic ? 2 : 1; }

bool stretched(const ResizeAxis& axis) {
  return axis.antialias && axis.mode != ResizeMode::nearest && axis.in > axis.out;
}

void check_axis(const ResizeAxis& axis) {
  check(axis.in >= 1 && axis.out >= 1, "resize2d", "from extent ", axis.in, " to ", axis.out);
}

void check_table(const View& first, const View& count, const View& weight) {
  check(weight.rank() == 2 && weight.is_contiguous() && weight.dtype == DType::f64, "resize", "weight ",
        weight.shape, " must be a contiguous f64 (out, taps)");
  for (const View* v : {&first, &count}) {
    check_shape("resize", {"a table", *v}, {weight.shape[0]});
    check_dtype("resize", {"a table", *v}, DType::i32);
    check(v->is_contiguous(), "resize", "a table is not contiguous");
  }
}

struct Row {
  int32_t* first;
  int32_t* count;
  double* weight;
};

// An interpolating kernel: taps beyond the edges are added to the edge's.
void interpolation_row(const ResizeAxis& axis, double center, int64_t taps, Row row) {
  const int64_t left = static_cast<int64_t>(std::floor(center)) + 1 - taps / 2;
  const int64_t begin = std::clamp<int64_t>(left, 0, axis.in - 1);
  const int64_t end = std::clamp<int64_t>(left + taps - 1, 0, axis.in - 1) + 1;
  for (int64_t t = 0; t < taps; ++t) {
    const double distance = center - static_cast<double>(left + t);
    const int64_t at = std::clamp<int64_t>(left + t, 0, axis.in - 1);
    row.weight[at - begin] += axis.mode == ResizeMode::bicubic ? cubic(distance, -0.75) : triangle(distance);
  }
  *row.first = static_cast<int32_t>(begin);
  *row.count = static_cast<int32_t>(end - begin);
}

// A stretched kernel: cut off at the edges, and the weights made to sum to 1.
void antialias_row(const ResizeAxis& axis, double center, double scale, Row row) {
  const double support = radius(axis.mode) * scale;
  const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(center + 0.5 - support + 0.5));
  const int64_t end = std::min<int64_t>(axis.in, static_cast<int64_t>(center + 0.5 + support + 0.5));
  double total = 0;
  for (int64_t t = begin; t < end; ++t) {
    const double distance = (static_cast<double>(t) - center) / scale;
    total += row.weight[t - begin] =
        axis.mode == ResizeMode::bicubic ? cubic(distance, -0.5) : triangle(distance);
  }
  for (int64_t t = begin; t < end; ++t) row.weight[t - begin] /= total;
  *row.first = static_cast<int32_t>(begin);
  *row.count = static_cast<int32_t>(end - begin);
}

}  // namespace

int64_t resize_taps(const ResizeAxis& axis) {
  check_axis(axis);
  if (axis.mode == ResizeMode::nearest) return 1;
  const double scale = stretched(axis) ? static_cast<double>(axis.in) / static_cast<double>(axis.out) : 1;
  const int64_t taps = static_cast<int64_t>(std::ceil(radius(axis.mode) * scale)) * 2;
  return stretched(axis) ? taps + 1 : taps;
}

void resize_table(const ResizeAxis& axis, const View& first, const View& count, const View& weight) {
  const int64_t taps = resize_taps(axis);
  check_table(first, count, weight);
  check_shape("resize", {"weight", weight}, {axis.out, taps});
  const double scale = static_cast<double>(axis.in) / static_cast<double>(axis.out);
  for (int64_t o = 0; o < axis.out; ++o) {
    const Row row{first.data<int32_t>() + o, count.data<int32_t>() + o, weight.data<double>() + o * taps};
    std::fill(row.weight, row.weight + taps, 0.0);
    const double center = (static_cast<double>(o) + 0.5) * scale - 0.5;
    if (axis.mode == ResizeMode::nearest) {
      *row.first = static_cast<int32_t>(o * axis.in / axis.out);
      *row.count = 1;
      *row.weight = 1;
    } else if (stretched(axis)) {
      antialias_row(axis, center, scale, row);
    } else {
      // torch clamps the position of bilinear at 0; with repeated edges that changes nothing.
      interpolation_row(axis, center, taps, row);
    }
  }
}

// Supports move to the right with o, so the outputs that use one input are neighbours.
int64_t resize_transposed_taps(int64_t in, const View& first, const View& count) {
  const int32_t *f = first.data<int32_t>(), *c = count.data<int32_t>();
  const int64_t out = first.shape[0];
  int64_t most = 1;
  for (int64_t i = 0, begin = 0; i < in; ++i) {
    while (begin < out && f[begin] + c[begin] <= i) ++begin;
    int64_t end = begin;
    while (end < out && f[end] <= i) ++end;
    most = std::max(most, end - begin);
  }
  return most;
}

void resize_transpose_table(const View& first, const View& count, const View& weight, const View& first_out,
                            const View& count_out, const View& weight_out) {
  check_table(first, count, weight);
  check_table(first_out, count_out, weight_out);
  const int32_t *f = first.data<int32_t>(), *c = count.data<int32_t>();
  const int64_t out = weight.shape[0], taps = weight.shape[1], in = weight_out.shape[0];
  const int64_t taps_out = weight_out.shape[1];
  for (int64_t i = 0, begin = 0; i < in; ++i) {
    while (begin < out && f[begin] + c[begin] <= i) ++begin;
    int64_t end = begin;
    while (end < out && f[end] <= i) ++end;
    check(end - begin <= taps_out, "resize", "an input has ", end - begin, " users, the table room for ",
          taps_out);
    first_out.data<int32_t>()[i] = static_cast<int32_t>(begin);
    count_out.data<int32_t>()[i] = static_cast<int32_t>(end - begin);
    double* row = weight_out.data<double>() + i * taps_out;
    std::fill(row, row + taps_out, 0.0);
    for (int64_t o = begin; o < end; ++o) row[o - begin] = weight.data<double>()[o * taps + i - f[o]];
  }
}

void resize_axis(const View& x, const View& first, const View& count, const View& weight, const View& y) {
  const OpTimer timer("resize_axis", x, y);
  const Device device =
      device_of("resize", {{"x", x}, {"first", first}, {"count", count}, {"weight", weight}, {"y", y}});
  check_dense("resize", {"x", x}, device);
  check_dense("resize", {"y", y}, device);
  check_table(first, count, weight);
  check((x.dtype == DType::f64) == (y.dtype == DType::f64), "resize", "x is ", dtype_name(x.dtype), ", y ",
        dtype_name(y.dtype));
  check(x.rank() == 3, "resize", "expected (outer, in, inner), found ", x.shape);
  const int64_t in = x.shape[1], inner = x.shape[2], out = weight.shape[0], taps = weight.shape[1];
  check_shape("resize", {"y", y}, {x.shape[0], out, inner});
  if (device == Device::cuda) return cuda::call("tw_cuda_resize_axis", x, first, count, weight, y);
  const int32_t *f = first.data<int32_t>(), *c = count.data<int32_t>();
  for (int64_t o = 0; o < out; ++o)
    check(f[o] >= 0 && c[o] >= 0 && c[o] <= taps && f[o] + c[o] <= in, "resize", "the table reaches beyond ",
          in);
  const auto run = active<ResizeKernels>().run;
  const int64_t x_row = inner * static_cast<int64_t>(dtype_size(x.dtype));
  const int64_t y_row = inner * static_cast<int64_t>(dtype_size(y.dtype));
  const int64_t grain = grain_elements / std::max<int64_t>(1, inner * taps) + 1;
  parallel_for(x.shape[0] * out, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t o = r % out;
      run(x.dtype, y.dtype, static_cast<const char*>(x.pointer) + (r / out * in + f[o]) * x_row,
          weight.data<double>() + o * taps, c[o], static_cast<char*>(y.pointer) + r * y_row, inner);
    }
  });
}

}  // namespace tw::kernels
