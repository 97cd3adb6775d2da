// Row-major matrix products by cuBLASLt: c = alpha op(a) op(b) + bias + residual.
//
// cuBLASLt's matrices are column-major, so it is asked for the transpose, c' = op(b)' op(a)': a row-major
// matrix read as column-major is its transpose, and nothing is moved. The bias, one number a column of c, is
// one a row of c' and added by the product's epilogue; the residual is its C, scaled by 1.
// libcublasLt.so.13 is loaded at first use. Everything throws tw::Error with the failed call.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tw::cuda {

struct Matrices {  // `count` of them, each batch_stride elements after the one before
  const void* pointer = nullptr;
  int64_t row_stride = 0, batch_stride = 0;  // in elements; columns are adjacent
};

struct Product {
  DType inputs = DType::f32, output = DType::f32;  // of a and b; of c, bias and residual
  int64_t m = 0, n = 0, k = 0, count = 1;
  bool transpose_a = false, transpose_b = false;
  double alpha = 1;
  Matrices a, b, c, residual;  // the residual may be absent or c itself
  const void* bias = nullptr;
};

// Queues it. f32 is multiplied as f32, 16-bit types are summed in f32, partial sums are never kept in 16
// bits.
void multiply(const char* op, const Product& product);

}  // namespace tw::cuda
