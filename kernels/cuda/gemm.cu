// Matrix products by cuBLASLt (cublas_lt.h).
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/pixel_sum.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/term.h"

namespace tw::cuda {
namespace {

// b as the weights of a layer are stored, in a's type.
template <class From, class To>
__global__ void convert(const typename Element<From>::Memory* from, int64_t n,
                        typename Element<To>::Memory* to) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    to[i] = Element<To>::store(static_cast<typename Element<To>::Value>(Element<From>::load(from[i])));
}

// Rows of c, in order, with the bias added: where the product's epilogue cannot.
template <class T>
__global__ void add_bias(typename Element<T>::Memory* c, int64_t rows, int64_t n, Term bias) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * n; i += step) {
    auto& at = c[i];
    at = Element<T>::store(Element<T>::load(at) + bias.at<typename Element<T>::Value>(i % n));
  }
}

// The leading extents, innermost first, as far as each lies at one distance from the next in all views:
// (..., heads, t, d) is one batch of heads, and further extents are walked one by one.
struct Leading {
  int first = 0;      // extents [first, rank - 2) form the batch
  int64_t count = 1;  // of them
};

Leading leading_of(const View& a, const View& b, const View& c) {
  Leading result{c.rank() - 2, 1};
  for (int i = c.rank() - 3; i >= 0; --i) {
    const auto even = [&](const View& v) {
      return v.rank() == 2 || i == c.rank() - 3 || v.strides[i] == v.strides[c.rank() - 3] * result.count;
    };
    if (!even(a) || !even(b) || !even(c)) break;
    result.count *= c.shape[i];
    result.first = i;
  }
  return result;
}

Matrices matrices(const View& v, int64_t offset) {
  const int r = v.rank();
  return {static_cast<char*>(v.pointer) + offset * static_cast<int64_t>(dtype_size(v.dtype)),
          v.strides[r - 2], r > 2 ? v.strides[r - 3] : 0};
}

// Where the outer-th of the extents [0, end) begins; 0 in a matrix that all share.
int64_t offset_of(const View& v, int end, int64_t outer) {
  int64_t offset = 0;
  if (v.rank() == 2) return 0;
  for (int i = end - 1; i >= 0; --i) {
    offset += outer % v.shape[i] * v.strides[i];
    outer /= v.shape[i];
  }
  return offset;
}

}  // namespace

void multiply_views(const kernels::GemmParams& params, const View& a, View b,
                    const kernels::GemmEpilogue& terms, const View& c) {
  const char* op = "gemm";
  Scratch converted(op, b.dtype == a.dtype ? 0 : static_cast<size_t>(b.numel()) * dtype_size(a.dtype));
  if (b.dtype != a.dtype) {
    check(b.is_contiguous(), op, "b is ", dtype_name(b.dtype), " and a ", dtype_name(a.dtype),
          "; on CUDA b must then be contiguous");
    require(for_float(op, b.dtype, [&]<class From>(From) {
      return for_float(op, a.dtype, [&]<class To>(To) {
        launch(convert<From, To>, blocks_for(b.numel()), threads,
               static_cast<const typename Element<From>::Memory*>(b.pointer), b.numel(),
               static_cast<typename Element<To>::Memory*>(converted.get()));
        return launched("convert");
      });
    }));
    b.pointer = converted.get();
    b.dtype = a.dtype;
  }
  check(!terms.residual || terms.residual.dtype == c.dtype, op, "on CUDA the residual has c's dtype, ",
        dtype_name(c.dtype), "; found ", dtype_name(terms.residual.dtype));
  const int r = c.rank();
  const Leading leading = leading_of(a, b, c);
  Product p;
  p.inputs = a.dtype;
  p.output = c.dtype;
  p.m = c.shape[r - 2];
  p.n = c.shape[r - 1];
  p.k = a.shape[params.transpose_a ? r - 2 : r - 1];
  p.count = leading.count;
  p.transpose_a = params.transpose_a;
  p.transpose_b = params.transpose_b;
  p.alpha = params.alpha;
  const bool in_epilogue = terms.bias && terms.bias.dtype == c.dtype && c.dtype != DType::f64;
  if (in_epilogue) p.bias = terms.bias.pointer;
  // One matrix b for all: the batch is more rows, if they follow one another.
  const auto rows_follow = [&](const View& v) {
    return r > 2 && v.strides[r - 3] == v.strides[r - 2] * v.shape[r - 2];
  };
  if (b.rank() == 2 && !p.transpose_a && rows_follow(a) && rows_follow(c)) {
    p.m *= p.count;
    p.count = 1;
  }
  int64_t outer_count = 1;
  for (int i = 0; i < leading.first; ++i) outer_count *= c.shape[i];
  for (int64_t outer = 0; outer < outer_count; ++outer) {
    p.a = matrices(a, offset_of(a, leading.first, outer));
    p.b = matrices(b, offset_of(b, leading.first, outer));
    p.c = matrices(c, offset_of(c, leading.first, outer));
    if (terms.residual) p.residual = matrices(terms.residual, offset_of(c, leading.first, outer));
    multiply(op, p);
  }
  if (!terms.bias || in_epilogue) return;
  check(c.is_contiguous(), op, "on CUDA a bias of another dtype than c's, or f64, needs a contiguous c");
  require(for_float(op, c.dtype, [&]<class T>(T) {
    launch(add_bias<T>, blocks_for(c.numel()), threads, static_cast<typename Element<T>::Memory*>(c.pointer),
           c.numel() / p.n, p.n, Term(terms.bias));
    return launched("add_bias");
  }));
}

void multiply_outer(const View& a, const View& b, const View& c, const View& sum) {
  Product p;
  p.inputs = a.dtype;
  p.output = c.dtype;
  p.m = c.shape[0];
  p.n = c.shape[1];
  p.k = p.m * p.n > 0 ? a.numel() / p.m : 0;
  p.transpose_a = true;
  p.a = {a.pointer, p.m, 0};
  p.b = {b.pointer, p.n, 0};
  p.c = {c.pointer, p.n, 0};
  const size_t bytes = static_cast<size_t>(c.numel()) * dtype_size(c.dtype);
  if (p.k > 0)
    multiply("gemm_outer", p);
  else
    require(cudaMemsetAsync(c.pointer, 0, bytes, stream()), "cudaMemsetAsync");
  if (sum) pixel_sum("gemm_outer", b, 1, p.n > 0 ? b.numel() / p.n : 0, p.n, sum);
}

TW_CUDA_EXPORT tw_cuda_gemm(const kernels::GemmParams* params, const View* a, const View* b,
                            const kernels::GemmEpilogue* terms, const View* c) {
  return caught([&] { multiply_views(*params, *a, *b, *terms, *c); });
}

TW_CUDA_EXPORT tw_cuda_gemm_outer(const View* a, const View* b, const View* c, const View* sum) {
  return caught([&] { multiply_outer(*a, *b, *c, *sum); });
}

}  // namespace tw::cuda
