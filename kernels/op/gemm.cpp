#include "kernels/op/gemm.h"

#include <algorithm>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/product_bf16.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

struct Matrix {  // the last two extents of a view
  int64_t rows, columns, row_stride, column_stride;
};

// op(view)'s element (i, j) at i * row_stride + j * column_stride.
Matrix matrix_of(const Shape& shape, const Shape& strides, bool transposed) {
  const int r = shape.rank();
  Matrix m{shape[r - 2], shape[r - 1], strides[r - 2], strides[r - 1]};
  if (transposed) std::swap(m.rows, m.columns), std::swap(m.row_stride, m.column_stride);
  return m;
}

struct Problem {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  bool stacked = false;  // the leading extents are folded into the rows
};

// A product whose b is one matrix is one tall product, if a's rows allow it.
Problem problem_of(const GemmParams& params, const Shape& a, const Shape& b) {
  const Shape c = gemm_output_shape(params, a, b);
  Problem p;
  p.m = c.dim(-2);
  p.n = c.dim(-1);
  p.k = b.dim(params.transpose_b ? -1 : -2);
  for (int i = 0; i + 2 < c.rank(); ++i) p.batch *= c[i];
  p.stacked = b.rank() == 2 && !params.transpose_a && p.batch > 1;
  return p;
}

TapGemm product_of(int64_t m, int64_t n, int64_t k, DType dtype) {
  TapGemm g;
  g.source_dtype = g.output_dtype = dtype;
  g.axes[2].source = g.axes[2].grid = g.axes[2].output = m;
  g.depth = k;
  g.channels = n;
  return g;
}

bool folds(const View& v) {  // every row of the leading extents follows the one before it at one distance
  for (int i = 0; i + 2 < v.rank(); ++i)
    if (v.shape[i] != 1 && v.strides[i] != v.strides[i + 1] * v.shape[i + 1]) return false;
  return true;
}

int64_t offset_of(const View& v, int64_t batch) {
  int64_t offset = 0;
  for (int i = v.rank() - 3; i >= 0; --i) {
    offset += batch % v.shape[i] * v.strides[i];
    batch /= v.shape[i];
  }
  return offset;
}

void* at(const View& v, int64_t offset) {
  return static_cast<char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype));
}

void check_matrix(const char* name, const View& v) {
  check(v.pointer != nullptr || v.numel() == 0, "gemm", name, " is missing");
  check(v.rank() >= 2 && (v.strides.dim(-1) == 1 || v.dim(-1) <= 1), "gemm", name, " ", v.shape,
        " must have rank 2 or more and a dense last extent");
  const bool half = v.device == Device::cuda && v.dtype == DType::f16;
  check(v.dtype == DType::f32 || v.dtype == DType::f64 || v.dtype == DType::bf16 || half, "gemm", name,
        " must be f32, f64 or bf16, found ", dtype_name(v.dtype));
}

void check_floats(const char* name, const View& v, DType with) {
  check((v.dtype == DType::f64) == (with == DType::f64), "gemm", name, " is ", dtype_name(v.dtype), ", a is ",
        dtype_name(with), "; f64 goes with f64 only");
}

void reference(const GemmParams& params, const View& a, const View& b, const GemmEpilogue& terms,
               const View& c, const Problem& p) {
  const Matrix ma = matrix_of(a.shape, a.strides, params.transpose_a);
  const Matrix mb = matrix_of(b.shape, b.strides, params.transpose_b),
               mc = matrix_of(c.shape, c.strides, false);
  parallel_for(p.batch * p.m, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t batch = row / p.m, i = row % p.m;
      const double* left = static_cast<double*>(at(a, offset_of(a, batch) + i * ma.row_stride));
      const double* right = static_cast<double*>(at(b, b.rank() == 2 ? 0 : offset_of(b, batch)));
      const int64_t to = offset_of(c, batch) + i * mc.row_stride;
      for (int64_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < p.k; ++k)
          sum += left[k * ma.column_stride] * right[k * mb.row_stride + j * mb.column_stride];
        sum *= params.alpha;
        if (terms.bias) sum += static_cast<double*>(terms.bias.pointer)[j];
        if (terms.residual) sum += static_cast<double*>(terms.residual.pointer)[to + j];
        static_cast<double*>(c.pointer)[to + j] = sum;
      }
    }
  });
}

// Threads share the batch when there are enough matrices in it, else each product.
int batch_slots(int64_t batch) { return batch >= 2 * thread_count() ? thread_count() : 1; }

// Whether bf16 is multiplied by bf16, without becoming f32 first.
bool dot(const TapGemm& g) { return g.source_dtype == DType::bf16 && !bf16_product_declines(g); }

int64_t packed_floats(const TapGemm& g) { return dot(g) ? bf16_packed_size(g) : packed_size(g); }

int64_t floats_of_one(const TapGemm& g, int slots) {
  return packed_floats(g) + (dot(g) ? bf16_workspace_size(g, slots) : workspace_size(g, slots));
}

}  // namespace

Shape gemm_output_shape(const GemmParams& params, const Shape& a, const Shape& b) {
  check(a.rank() >= 2 && b.rank() >= 2, "gemm", "a ", a, " and b ", b, " must have rank 2 or more");
  const int64_t m = a.dim(params.transpose_a ? -1 : -2), k = a.dim(params.transpose_a ? -2 : -1);
  const int64_t kb = b.dim(params.transpose_b ? -1 : -2), n = b.dim(params.transpose_b ? -2 : -1);
  check(k == kb, "gemm", "a ", a, params.transpose_a ? " (transposed)" : "", " has inner extent ", k, ", b ",
        b, params.transpose_b ? " (transposed)" : "", " has ", kb);
  if (b.rank() > 2) {
    bool equal = a.rank() == b.rank();
    for (int i = 0; equal && i + 2 < a.rank(); ++i) equal = a[i] == b[i];
    check(equal, "gemm", "the leading extents of a ", a, " and b ", b, " must be equal, or b have rank 2");
  }
  Shape c = a;
  c = c.with(-2, m).with(-1, n);
  c.numel();
  return c;
}

int64_t gemm_workspace_bytes(const GemmParams& params, const Shape& a, const Shape& b, DType activations) {
  const Problem p = problem_of(params, a, b);
  const int slots = batch_slots(p.batch);
  const auto most = [&](TapGemm g, int inner) {  // whether a is read in place depends on its strides
    const int64_t copied = (g.depth_stride = 2, floats_of_one(g, inner));
    return std::max(copied, (g.depth_stride = 1, floats_of_one(g, inner)));
  };
  int64_t floats = slots * most(product_of(p.m, p.n, p.k, activations), slots > 1 ? 1 : thread_count());
  if (p.stacked)
    floats = std::max(floats, most(product_of(p.batch * p.m, p.n, p.k, activations), thread_count()));
  return floats * static_cast<int64_t>(sizeof(float));
}

void gemm(const GemmParams& params, const View& a, const View& b, const GemmEpilogue& terms, const View& c,
          const View& workspace) {
  const Device device =
      device_of("gemm", {{"a", a}, {"b", b}, {"bias", terms.bias}, {"residual", terms.residual}, {"c", c}});
  check_matrix("a", a);
  check_matrix("b", b);
  check_matrix("c", c);
  check_floats("b", b, a.dtype);
  check_shape("gemm", {"c", c}, gemm_output_shape(params, a.shape, b.shape));
  check_dtype("gemm", {"c", c}, a.dtype);
  Problem p = problem_of(params, a.shape, b.shape);
  if (terms.bias) {
    check_dense("gemm", {"bias", terms.bias}, device);
    check_shape("gemm", {"bias", terms.bias}, {p.n});
    check_floats("bias", terms.bias, a.dtype);
  }
  if (terms.residual) {
    check_shape("gemm", {"residual", terms.residual}, c.shape);
    check(terms.residual.strides == c.strides, "gemm", "the residual must have the strides of c");
    check_floats("residual", terms.residual, a.dtype);
  }
  const OpTimer timer(
      "gemm", [&] { return 2.0 * static_cast<double>(c.numel()) * static_cast<double>(p.k); }, a, b,
      terms.residual, c);
  if (c.numel() == 0) return;
  if (device == Device::cuda) return cuda::call("tw_cuda_gemm", params, a, b, terms, c);
  if (a.dtype == DType::f64) return reference(params, a, b, terms, c, p);
  check(workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >=
            gemm_workspace_bytes(params, a.shape, b.shape, a.dtype),
        "gemm", "the workspace must hold ", gemm_workspace_bytes(params, a.shape, b.shape, a.dtype),
        " bytes, found ", workspace.shape);
  if (p.stacked && folds(a) && folds(c)) {
    p.m *= p.batch;
    p.batch = 1;
  }
  const Matrix ma = matrix_of(a.shape, a.strides, params.transpose_a);
  const Matrix mb = matrix_of(b.shape, b.strides, params.transpose_b),
               mc = matrix_of(c.shape, c.strides, false);
  TapGemm g = product_of(p.m, p.n, p.k, a.dtype);
  g.pixel_stride = ma.row_stride;
  g.depth_stride = ma.column_stride;
  g.output_stride = mc.row_stride;
  g.alpha = static_cast<float>(params.alpha);
  g.bias = terms.bias;
  const int slots = batch_slots(p.batch), inner = slots > 1 ? 1 : thread_count();
  const int64_t floats = floats_of_one(g, inner);
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      float* panels = static_cast<float*>(workspace.pointer) + slot * floats;
      TapGemm one = g;
      one.panels = panels;
      const int64_t last = p.batch * (slot + 1) / slots;
      for (int64_t batch = p.batch * slot / slots; batch < last; ++batch) {
        const PanelSource weight{at(b, b.rank() == 2 ? 0 : offset_of(b, batch)), b.dtype, 0, mb.row_stride,
                                 mb.column_stride};
        if (b.rank() > 2 || batch == p.batch * slot / slots)
          dot(one) ? bf16_pack_weights(one, weight, panels) : pack_weights(one, weight, panels);
        one.source = at(a, p.batch == 1 ? 0 : offset_of(a, batch));
        one.output = at(c, p.batch == 1 ? 0 : offset_of(c, batch));
        one.residual = terms.residual;
        if (terms.residual) one.residual.pointer = at(terms.residual, p.batch == 1 ? 0 : offset_of(c, batch));
        float* scratch = panels + packed_floats(one);
        dot(one) ? run_bf16_product(one, inner, scratch) : run_product(one, inner, scratch);
      }
    }
  });
}

int64_t gemm_outer_workspace_bytes(const Shape& a, const Shape& b) {
  View fine, coarse;
  fine.shape = {a.back()};
  coarse.shape = {b.back()};
  ConvGeometry geometry;
  geometry.axes[2].fine = geometry.axes[2].coarse = b.back() ? b.numel() / b.back() : 0;
  return workspace_size(outer_product(geometry, fine, coarse)) * static_cast<int64_t>(sizeof(float));
}

void gemm_outer(const View& a, const View& b, const View& c, const View& sum, const View& workspace) {
  const Device device = device_of("gemm_outer", {{"a", a}, {"b", b}, {"c", c}, {"sum", sum}});
  check_dense("gemm_outer", {"a", a}, device);
  check_dense("gemm_outer", {"b", b}, device);
  check_dense("gemm_outer", {"c", c}, device);
  check_dtype("gemm_outer", {"b", b}, a.dtype);
  const int64_t k = a.shape.back(), n = b.shape.back();
  check(a.numel() * n == b.numel() * k, "gemm_outer", "a ", a.shape, " and b ", b.shape,
        " differ in their number of rows");
  check_shape("gemm_outer", {"c", c}, {k, n});
  check_dtype("gemm_outer", {"c", c}, a.dtype == DType::f64 ? DType::f64 : DType::f32);
  if (sum) check_shape("gemm_outer", {"sum", sum}, {n});
  const OpTimer timer(
      "gemm_outer",
      [&] {
        return 2.0 * static_cast<double>(c.numel()) *
               static_cast<double>(a.numel() / std::max<int64_t>(1, k));
      },
      a, c, b);
  if (device == Device::cuda) return cuda::call("tw_cuda_gemm_outer", a, b, c, sum);
  ConvGeometry geometry;
  geometry.axes[2].fine = geometry.axes[2].coarse = n ? b.numel() / n : 0;
  if (a.dtype == DType::f64) {
    reference_outer(geometry, a, b, true, c);
    if (sum) reference_sum(b, sum);
    return;
  }
  check(workspace.numel() * static_cast<int64_t>(dtype_size(workspace.dtype)) >=
            gemm_outer_workspace_bytes(a.shape, b.shape),
        "gemm_outer", "the workspace must hold ", gemm_outer_workspace_bytes(a.shape, b.shape),
        " bytes, found ", workspace.shape);
  TapOuter product = outer_product(geometry, a, b);
  product.gradient = static_cast<float*>(c.pointer);
  product.dense_sum = static_cast<float*>(sum.pointer);
  run_outer(product, static_cast<float*>(workspace.pointer));
}

}  // namespace tw::kernels
