// Matrix product: c(i, j) = alpha sum_k op(a)(i, k) op(b)(k, j) + bias(j) + residual(i, j), op = transpose or
// nothing; batched over leading extents.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace tw::kernels {

struct GemmParams {
  bool transpose_a = false, transpose_b = false;
  double alpha = 1;
};

struct GemmEpilogue {
  View bias;      // (n), contiguous
  View residual;  // the shape and strides of c
};

// The shape of c for a (..., m, k) and b (..., k, n), each with its last two extents exchanged if transposed;
// the leading extents are equal or b has rank 2. Throws Error naming "gemm".
Shape gemm_output_shape(const GemmParams& params, const Shape& a, const Shape& b);

// Bytes of scratch memory.
int64_t gemm_workspace_bytes(const GemmParams& params, const Shape& a, const Shape& b,
                             DType activations = DType::f32);

// The last extent of each is dense (stride 1); the others may have any stride, so a slice of a packed qkv
// works. a and c: one dtype of f32, bf16, f64; b and the terms f32 or bf16 (f64 with f64). Sums are f32 in an
// order that depends on k alone. On CUDA f16 too, and no workspace. c may be the residual; it must not
// overlap a or b.
void gemm(const GemmParams& params, const View& a, const View& b, const GemmEpilogue& terms, const View& c,
          const View& workspace);

// c (k, n) f32 (f64 with f64) = sum over rows of a(row, k) b(row, n), the weight gradient of a linear layer,
// and sum(n) = sum over rows of b, which may be absent. a (..., k) and b (..., n) contiguous, of one dtype.
int64_t gemm_outer_workspace_bytes(const Shape& a, const Shape& b);
void gemm_outer(const View& a, const View& b, const View& c, const View& sum, const View& workspace);

}  // namespace tw::kernels
