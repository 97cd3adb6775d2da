#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <type_traits>

#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/tf32.h"
#include "kernels/cuda/vendor_library.h"

namespace tw::cuda {
namespace {

constexpr size_t workspace_bytes = size_t{32} << 20;  // what Hopper's kernels ask for

// The functions of cuBLASLt that are used, under their names without the prefix.
struct Api {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
};

Api load() {
  const VendorLibrary library("libcublasLt.so.13", "cuBLASLt 13", "matrix products");
  Api api;
  library.find("cublasLtCreate", api.create);
  library.find("cublasLtGetStatusString", api.status_string);
  library.find("cublasLtMatmul", api.matmul);
  library.find("cublasLtMatmulAlgoGetHeuristic", api.heuristic);
  library.find("cublasLtMatmulDescCreate", api.desc_create);
  library.find("cublasLtMatmulDescDestroy", api.desc_destroy);
  library.find("cublasLtMatmulDescSetAttribute", api.desc_set);
  library.find("cublasLtMatrixLayoutCreate", api.layout_create);
  library.find("cublasLtMatrixLayoutDestroy", api.layout_destroy);
  library.find("cublasLtMatrixLayoutSetAttribute", api.layout_set);
  library.find("cublasLtMatmulPreferenceCreate", api.preference_create);
  library.find("cublasLtMatmulPreferenceDestroy", api.preference_destroy);
  library.find("cublasLtMatmulPreferenceSetAttribute", api.preference_set);
  return api;
}

const Api& api() {
  static const Api loaded = load();
  return loaded;
}

void require_blas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::data, detail::join("cuBLASLt: ", call, " gave ", api().status_string(status)));
}

cublasLtHandle_t handle() {
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t created = nullptr;
    require_blas(api().create(&created), "cublasLtCreate");
    return created;
  }();
  return made;
}

cudaDataType_t data_type(const char* op, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      fail(op, "no product of ", dtype_name(dtype), " on CUDA");
  }
}

struct Destroy {
  void operator()(cublasLtMatmulDesc_t p) const { api().desc_destroy(p); }
  void operator()(cublasLtMatrixLayout_t p) const { api().layout_destroy(p); }
  void operator()(cublasLtMatmulPreference_t p) const { api().preference_destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroy>;

// A row-major (rows, columns) matrix as cuBLASLt sees it: columns x rows, column-major.
Owned<cublasLtMatrixLayout_t> layout_of(cudaDataType_t type, int64_t rows, int64_t columns,
                                        const Matrices& at, int64_t count) {
  cublasLtMatrixLayout_t made = nullptr;
  const int64_t leading = rows > 1 ? at.row_stride : std::max(columns, at.row_stride);
  require_blas(
      api().layout_create(&made, type, static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), leading),
      "cublasLtMatrixLayoutCreate");
  Owned<cublasLtMatrixLayout_t> layout(made);
  const int32_t batch = static_cast<int32_t>(count);
  require_blas(api().layout_set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
               "the number of matrices");
  require_blas(api().layout_set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &at.batch_stride,
                                sizeof at.batch_stride),
               "the distance of matrices");
  return layout;
}

// The largest power of two up to 256 that divides the addresses of all rows.
uint32_t alignment(const Matrices& at, DType dtype) {
  const auto size = static_cast<int64_t>(dtype_size(dtype));
  const uint64_t bits = reinterpret_cast<uintptr_t>(at.pointer) |
                        static_cast<uint64_t>(at.row_stride * size) |
                        static_cast<uint64_t>(at.batch_stride * size) | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

// The algorithm for the product whose descriptor and layouts, in cuBLASLt's order, these are.
cublasLtMatmulHeuristicResult_t propose(const char* op, const Product& p, cublasLtMatmulDesc_t desc,
                                        cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t a,
                                        cublasLtMatrixLayout_t r, cublasLtMatrixLayout_t c) {
  const Matrices& residual = p.residual.pointer ? p.residual : p.c;
  cublasLtMatmulPreference_t preference_made = nullptr;
  require_blas(api().preference_create(&preference_made), "cublasLtMatmulPreferenceCreate");
  const Owned<cublasLtMatmulPreference_t> preference(preference_made);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    require_blas(api().preference_set(preference.get(), name, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b, p.inputs));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a, p.inputs));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(residual, p.output));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c, p.output));
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  require_blas(api().heuristic(handle(), desc, b, a, r, c, preference.get(), 1, &best, &found),
               "cublasLtMatmulAlgoGetHeuristic");
  check(found > 0, op, "cuBLASLt has no algorithm for ", p.count, " products of ", p.m, " x ", p.k, " and ",
        p.k, " x ", p.n, " of ", dtype_name(p.inputs));
  return best;
}

}  // namespace

void multiply(const char* op, const Product& p) {
  check(p.count <= INT32_MAX, op, "too many matrices: ", p.count);
  const bool exact = p.inputs == DType::f64;
  const cudaDataType_t inputs = data_type(op, p.inputs), output = data_type(op, p.output);
  cublasLtMatmulDesc_t made = nullptr;
  const bool tf32 = p.inputs == DType::f32 && tf32_allowed();
  require_blas(api().desc_create(&made,
                                 exact  ? CUBLAS_COMPUTE_64F
                                 : tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                        : CUBLAS_COMPUTE_32F,
                                 exact ? CUDA_R_64F : CUDA_R_32F),
               "cublasLtMatmulDescCreate");
  const Owned<cublasLtMatmulDesc_t> desc(made);
  const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
    require_blas(api().desc_set(made, name, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  };
  // cuBLASLt's first factor is our b.
  const auto turned = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(CUBLASLT_MATMUL_DESC_TRANSA, turned(p.transpose_b));
  set(CUBLASLT_MATMUL_DESC_TRANSB, turned(p.transpose_a));
  if (p.bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, output);
  }
  const auto matrix = [&](cudaDataType_t type, bool transpose, int64_t rows, int64_t columns,
                          const Matrices& at) {
    if (transpose) std::swap(rows, columns);
    return layout_of(type, rows, columns, at, p.count);
  };
  const Matrices& residual = p.residual.pointer ? p.residual : p.c;
  const auto a = matrix(inputs, p.transpose_a, p.m, p.k, p.a),
             b = matrix(inputs, p.transpose_b, p.k, p.n, p.b), c = matrix(output, false, p.m, p.n, p.c),
             r = matrix(output, false, p.m, p.n, residual);

  // What cuBLASLt proposes takes tens of microseconds to find and depends on these numbers alone.
  const std::array<int64_t, 19> key{static_cast<int64_t>(p.inputs),
                                    static_cast<int64_t>(p.output),
                                    p.m,
                                    p.n,
                                    p.k,
                                    p.count,
                                    p.transpose_a + 2 * p.transpose_b + 4 * (p.bias != nullptr) + 8 * tf32,
                                    p.a.row_stride,
                                    p.a.batch_stride,
                                    p.b.row_stride,
                                    p.b.batch_stride,
                                    p.c.row_stride,
                                    p.c.batch_stride,
                                    residual.row_stride,
                                    residual.batch_stride,
                                    alignment(p.a, p.inputs),
                                    alignment(p.b, p.inputs),
                                    alignment(p.c, p.output),
                                    alignment(residual, p.output)};
  static std::map<std::array<int64_t, 19>, cublasLtMatmulHeuristicResult_t> known;
  auto place = known.find(key);
  if (place == known.end()) {
    place = known.emplace(key, propose(op, p, desc.get(), b.get(), a.get(), r.get(), c.get())).first;
  }
  const cublasLtMatmulHeuristicResult_t& best = place->second;
  const Scratch workspace(op, best.workspaceSize);
  const float alpha = static_cast<float>(p.alpha), beta = p.residual.pointer ? 1 : 0;
  const double alpha64 = p.alpha, beta64 = p.residual.pointer ? 1 : 0;
  require_blas(
      api().matmul(handle(), desc.get(), exact ? static_cast<const void*>(&alpha64) : &alpha, p.b.pointer,
                   b.get(), p.a.pointer, a.get(), exact ? static_cast<const void*>(&beta64) : &beta,
                   residual.pointer, r.get(), const_cast<void*>(p.c.pointer), c.get(), &best.algo,
                   workspace.get(), best.workspaceSize, stream()),
      "cublasLtMatmul");
}

}  // namespace tw::cuda
