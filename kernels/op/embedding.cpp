#include "kernels/op/embedding.h"

#include <cstring>

#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

int64_t index_at(const View& index, int64_t i) {
  return index.dtype == DType::i64 ? static_cast<const int64_t*>(index.pointer)[i]
                                   : static_cast<const int32_t*>(index.pointer)[i];
}

void check_arguments(const char* op, const Argument& table, const View& index, const Argument& rows) {
  const Device device = device_of(op, {table, {"index", index}, rows});
  check_dense(op, table, device);
  check_dense(op, rows, device);
  check(table.view.rank() == 2, op, table.name, " must be (v, c), found ", table.view.shape);
  check(index && index.is_contiguous() && (index.dtype == DType::i32 || index.dtype == DType::i64), op,
        "index must be contiguous i32 or i64, found ", dtype_name(index.dtype), " ", index.shape);
  Shape expected = index.shape;
  expected.push_back(table.view.dim(1));
  check_shape(op, rows, expected);
  if (device == Device::cuda) return;  // the host cannot see the indices: the rows of wrong ones are NaN
  for (int64_t i = 0; i < index.numel(); ++i)
    check(index_at(index, i) >= 0 && index_at(index, i) < table.view.dim(0), op, "index ", index_at(index, i),
          " at ", i, " is not in [0, ", table.view.dim(0), ")");
}

// dtable[index[i]] += dy[i] for the channels [begin, end), which one thread has to itself.
template <class To, class From>
void scatter(const View& index, const View& dy, const View& dtable, int64_t begin, int64_t end) {
  using Real = std::conditional_t<std::is_same_v<From, double>, double, float>;
  const int64_t c = dtable.dim(1);
  To* to = static_cast<To*>(dtable.pointer);
  for (int64_t v = 0; v < dtable.dim(0); ++v)
    for (int64_t j = begin; j < end; ++j) to[v * c + j] = 0;
  for (int64_t i = 0; i < index.numel(); ++i) {
    To* row = to + index_at(index, i) * c;
    const From* from = static_cast<const From*>(dy.pointer) + i * c;
    for (int64_t j = begin; j < end; ++j) row[j] += static_cast<Real>(from[j]);
  }
}

}  // namespace

void embedding_forward(const View& table, const View& index, const View& y) {
  const OpTimer timer("embedding_forward", index, y);
  const char* op = "embedding_forward";
  check_arguments(op, {"table", table}, index, {"y", y});
  check_dtype(op, {"y", y}, table.dtype);
  if (table.device == Device::cuda) return cuda::call("tw_cuda_embedding_forward", table, index, y);
  const int64_t bytes = table.dim(1) * static_cast<int64_t>(dtype_size(table.dtype));
  parallel_for(index.numel(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(static_cast<char*>(y.pointer) + i * bytes,
                  static_cast<const char*>(table.pointer) + index_at(index, i) * bytes,
                  static_cast<size_t>(bytes));
  });
}

void embedding_backward(const View& index, const View& dy, const View& dtable) {
  const OpTimer timer("embedding_backward", dy, index, dtable);
  const char* op = "embedding_backward";
  check_arguments(op, {"dtable", dtable}, index, {"dy", dy});
  check_dtype(op, {"dtable", dtable}, dy.dtype == DType::f64 ? DType::f64 : DType::f32);
  if (dy.device == Device::cuda) return cuda::call("tw_cuda_embedding_backward", index, dy, dtable);
  parallel_for(dtable.dim(1), 64, [&](int64_t begin, int64_t end) {
    if (dy.dtype == DType::f64)
      scatter<double, double>(index, dy, dtable, begin, end);
    else if (dy.dtype == DType::bf16)
      scatter<float, bf16>(index, dy, dtable, begin, end);
    else
      scatter<float, float>(index, dy, dtable, begin, end);
  });
}

}  // namespace tw::kernels
