// libcublasLt.so.13 as far as kernels/cuda/cublas_lt.cu uses it: D = alpha op(A) op(B) + beta C + bias on
// column-major matrices, by definition. What the real one refuses is refused: leading dimensions that are too
// short, pointers that are aligned less than was promised.
#include <cublasLt.h>

#include <cmath>
#include <cstring>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/element.h"

using emulator::load;
using emulator::store;

namespace {

struct Layout {
  cudaDataType_t type;
  int64_t rows, columns, leading, batch_stride = 0;
  int32_t batches = 1;
};

struct Descriptor {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  cudaDataType_t bias_type = CUDA_R_32F;
};

struct Preference {
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C and D
};

// An algorithm remembers what it was proposed for.
struct Algorithm {
  uint32_t alignment[4];
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <class V>
cublasStatus_t set(V& to, const void* from, size_t bytes) {
  if (bytes != sizeof(V)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

// The pointers of opaque handles to ours and back.
Layout* layout(cublasLtMatrixLayout_t p) { return reinterpret_cast<Layout*>(p); }
Descriptor* descriptor(cublasLtMatmulDesc_t p) { return reinterpret_cast<Descriptor*>(p); }
Preference* preference(cublasLtMatmulPreference_t p) { return reinterpret_cast<Preference*>(p); }

bool consistent(const Descriptor& d, const Layout& a, const Layout& b, const Layout& c) {
  const bool ta = d.transpose_a == CUBLAS_OP_T, tb = d.transpose_b == CUBLAS_OP_T;
  const int64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
  const bool leads = a.leading >= a.rows && b.leading >= b.rows && c.leading >= c.rows;
  return leads && c.rows == m && (tb ? b.columns : b.rows) == k && c.columns == (tb ? b.rows : b.columns) &&
         a.batches == b.batches && a.batches == c.batches && a.type == b.type;
}

bool aligned(const void* pointer, uint32_t to) { return reinterpret_cast<uintptr_t>(pointer) % to == 0; }

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int one;
  *handle = reinterpret_cast<cublasLtHandle_t>(&one);
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_INVALID_VALUE   ? "CUBLAS_STATUS_INVALID_VALUE"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                                 : "a status of the emulated library";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *made = reinterpret_cast<cublasLtMatmulDesc_t>(new Descriptor{compute, scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  delete descriptor(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, cublasLtMatmulDescAttributes_t name,
                                              const void* value, size_t bytes) {
  Descriptor& d = *descriptor(p);
  switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(d.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(d.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(d.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(d.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(d.bias_type, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *made = reinterpret_cast<cublasLtMatrixLayout_t>(
      new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p) {
  delete layout(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t p,
                                                cublasLtMatrixLayoutAttribute_t name, const void* value,
                                                size_t bytes) {
  switch (name) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return set(layout(p)->batches, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return set(layout(p)->batch_stride, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  *made = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete preference(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, size_t bytes) {
  uint32_t* alignment = preference(p)->alignment;
  switch (name) {
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return set(alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return set(alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return set(alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(alignment[3], value, bytes);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return CUBLAS_STATUS_SUCCESS;
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preferred, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = consistent(*descriptor(d), *layout(a), *layout(b), *layout(c)) ? 1 : 0;
  *results = {};
  std::memcpy(&results->algo, preference(preferred)->alignment, sizeof(Algorithm));
  results->workspaceSize = 512;
  return CUBLAS_STATUS_SUCCESS;
}

// As the matrix units see it: tf32 has ten bits of mantissa.
static double factor(const Descriptor& on, const Layout& of, const void* matrix, int64_t at) {
  const double value = load(of.type, matrix, at);
  if (on.compute != CUBLAS_COMPUTE_32F_FAST_TF32) return value;
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 11)), exponent - 11);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const Descriptor on = *descriptor(desc);
  const Layout la = *layout(a_layout), lb = *layout(b_layout), lc = *layout(c_layout), ld = *layout(d_layout);
  Algorithm promised;
  std::memcpy(&promised, algo, sizeof promised);
  if (!consistent(on, la, lb, lc) || !consistent(on, la, lb, ld)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!aligned(a, promised.alignment[0]) || !aligned(b, promised.alignment[1]) ||
      (c && !aligned(c, promised.alignment[2])) || !aligned(d, promised.alignment[3]))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes > 0 && !workspace) return CUBLAS_STATUS_INVALID_VALUE;
  const double by = load(on.scale, alpha, 0), keep = load(on.scale, beta, 0);
  if (keep != 0 && !c) return CUBLAS_STATUS_INVALID_VALUE;
  emulator::enqueue(stream, [=] {
    const bool ta = on.transpose_a == CUBLAS_OP_T, tb = on.transpose_b == CUBLAS_OP_T;
    const int64_t k = ta ? la.rows : la.columns;
    for (int64_t batch = 0; batch < la.batches; ++batch)
      for (int64_t j = 0; j < ld.columns; ++j)
        for (int64_t i = 0; i < ld.rows; ++i) {
          double sum = 0;
          for (int64_t l = 0; l < k; ++l)
            sum +=
                factor(on, la, a, batch * la.batch_stride + (ta ? i * la.leading + l : l * la.leading + i)) *
                factor(on, lb, b, batch * lb.batch_stride + (tb ? l * lb.leading + j : j * lb.leading + l));
          sum *= by;
          if (keep != 0) sum += keep * load(lc.type, c, batch * lc.batch_stride + j * lc.leading + i);
          if (on.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += load(on.bias_type, on.bias, i);
          store(ld.type, d, batch * ld.batch_stride + j * ld.leading + i, sum);
        }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
