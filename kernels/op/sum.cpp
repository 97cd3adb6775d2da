// Neighbouring dimensions that are both kept or both summed are merged; what is left is a set of rows for
// each output (summed along) or for each row of outputs (summed down). Rows are cut into chunks of a fixed
// size, added in f32 within a chunk and in f64 from chunk to chunk, in order.
#include "kernels/op/sum.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/sum.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

constexpr int64_t chunk_elements = 4096;  // per output when summing along rows
constexpr int64_t chunk_rows = 64;        // when summing down
constexpr int64_t block_columns = 512;    // outputs of one work item when summing down
constexpr int64_t grain_elements = 16384;

struct Plan {
  bool along = false;  // whether the innermost dimension is summed
  int64_t length = 1;  // of that dimension, after merging
  StridedLoop kept, summed;
  int64_t rows_in_chunk = 1, column_chunks = 1, chunks = 1;
  int64_t blocks = 1;  // of columns, when summing down

  int64_t items() const { return kept.numel * chunks * blocks; }
};

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Plan plan_for(const Shape& x, const Shape& y) {
  const Shape strides = contiguous_strides(x);
  Plan plan;
  int i = x.rank() - 1;
  while (i >= 0 && x[i] == 1) --i;
  if (i >= 0) plan.along = y[i] == 1;
  for (; i >= 0 && (x[i] == 1 || (y[i] == 1) == plan.along); --i) plan.length *= x[i];
  Shape kept, kept_strides, summed, summed_strides;
  for (int k = 0; k <= i; ++k) {
    const bool is_summed = y[k] == 1 && x[k] != 1;
    (is_summed ? summed : kept).push_back(x[k]);
    (is_summed ? summed_strides : kept_strides).push_back(strides[k]);
  }
  plan.kept = strided_loop(kept, {kept_strides});
  plan.summed = strided_loop(summed, {summed_strides});
  if (plan.along) {
    plan.rows_in_chunk = std::max<int64_t>(1, chunk_elements / plan.length);
    plan.column_chunks = divide_up(plan.length, chunk_elements);
  } else {
    plan.rows_in_chunk = chunk_rows;
    plan.blocks = divide_up(plan.length, block_columns);
  }
  plan.chunks = divide_up(plan.summed.numel, plan.rows_in_chunk) * plan.column_chunks;
  return plan;
}

void store(const View& y, int64_t i, double value) {
  if (y.dtype == DType::f64)
    static_cast<double*>(y.pointer)[i] = value;
  else if (y.dtype == DType::bf16)
    static_cast<bf16*>(y.pointer)[i] = bf16(static_cast<float>(value));
  else
    static_cast<float*>(y.pointer)[i] = static_cast<float>(value);
}

const char* element(const View& x, int64_t offset) {
  return static_cast<const char*>(x.pointer) + offset * static_cast<int64_t>(dtype_size(x.dtype));
}

// x's offset of the i-th kept row (or row of outputs).
int64_t kept_offset(const StridedLoop& kept, int64_t i) {
  int64_t offset = 0;
  for (int k = kept.rank - 1; k >= 0; --k) {
    offset += i % kept.extent[k] * kept.stride[0][k];
    i /= kept.extent[k];
  }
  return offset;
}

// Work item i = (output, chunk): one number.
void sum_along(const Plan& plan, const View& x, double scale, const View& y, double* partial) {
  const auto across = active<SumKernels>().across;
  auto item = [&](int64_t i) {
    const int64_t chunk = i % plan.chunks, part = chunk % plan.column_chunks;
    const int64_t first = chunk / plan.column_chunks * plan.rows_in_chunk;
    const int64_t column = part * chunk_elements;
    return across(x.dtype, element(x, kept_offset(plan.kept, i / plan.chunks) + column), plan.summed, first,
                  std::min(first + plan.rows_in_chunk, plan.summed.numel),
                  plan.column_chunks == 1 ? plan.length : std::min(chunk_elements, plan.length - column));
  };
  const int64_t grain = divide_up(grain_elements, plan.rows_in_chunk * plan.length);
  parallel_for(plan.items(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (plan.chunks == 1)
        store(y, i, scale * item(i));
      else
        partial[i] = item(i);
    }
  });
  if (plan.chunks == 1) return;
  for (int64_t o = 0; o < plan.kept.numel; ++o) {
    double total = 0;
    for (int64_t j = 0; j < plan.chunks; ++j) total += partial[o * plan.chunks + j];
    store(y, o, scale * total);
  }
}

// Work item i = (row of outputs, chunk, block of columns): up to block_columns numbers of type S.
template <class S>
void sum_down(const Plan& plan, const View& x, double scale, const View& y, S* partial) {
  const auto down = active<SumKernels>().down;
  const int64_t length = plan.length;
  const int64_t grain = divide_up(
      grain_elements, std::min(plan.rows_in_chunk, plan.summed.numel) * std::min(length, block_columns));
  parallel_for(plan.items(), grain, [&](int64_t begin, int64_t end) {
    S direct[block_columns];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i % plan.blocks, chunk = i / plan.blocks % plan.chunks;
      const int64_t output = i / plan.blocks / plan.chunks;
      const int64_t column = block * block_columns, columns = std::min(block_columns, length - column);
      const int64_t first = chunk * plan.rows_in_chunk;
      S* sums = plan.chunks == 1 ? direct : partial + (output * plan.chunks + chunk) * length + column;
      down(x.dtype, element(x, kept_offset(plan.kept, output) + column), plan.summed, first,
           std::min(first + plan.rows_in_chunk, plan.summed.numel), columns, sums);
      if (plan.chunks != 1) continue;
      for (int64_t l = 0; l < columns; ++l) store(y, output * length + column + l, scale * direct[l]);
    }
  });
  if (plan.chunks == 1) return;
  parallel_for(plan.kept.numel * length, divide_up(grain_elements, plan.chunks),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const S* column = partial + i / length * plan.chunks * length + i % length;
                   double total = 0;
                   for (int64_t j = 0; j < plan.chunks; ++j) total += column[j * length];
                   store(y, i, scale * total);
                 }
               });
}

void sum_on_cuda(const View& x, double scale, const View& y) {
  Shape kept, kept_strides, summed, summed_strides;
  bool along = false;
  for (int i = 0; i < x.rank(); ++i) {
    if (x.shape[i] == 1) continue;
    along = y.shape[i] == 1;
    (along ? summed : kept).push_back(x.shape[i]);
    (along ? summed_strides : kept_strides).push_back(x.strides[i]);
  }
  cuda::call("tw_cuda_sum", strided_loop(kept, {kept_strides}), strided_loop(summed, {summed_strides}), along,
             x, scale, y);
}

}  // namespace

size_t sum_workspace_bytes(const View& x, const Shape& y) {
  if (x.numel() == 0) return 0;
  const Plan plan = plan_for(x.shape, y);
  if (plan.chunks == 1) return 0;
  const int64_t numbers = plan.kept.numel * plan.chunks * (plan.along ? 1 : plan.length);
  return static_cast<size_t>(numbers) * (plan.along || x.dtype == DType::f64 ? 8 : 4);
}

void sum(const View& x, double scale, const View& y, void* workspace) {
  const OpTimer timer("sum", x, y);
  const Device device = device_of("sum", {{"x", x}, {"y", y}});
  check_dense("sum", {"x", x}, device);
  check_dense("sum", {"y", y}, device);
  const bool half = x.dtype == DType::bf16 || x.dtype == DType::f16;
  check(y.dtype == x.dtype || (half && y.dtype == DType::f32), "sum", "y is ", dtype_name(y.dtype), ", x ",
        dtype_name(x.dtype));
  check(y.rank() == x.rank(), "sum", "y ", y.shape, " has not the rank of x ", x.shape);
  for (int i = 0; i < x.rank(); ++i)
    check(y.shape[i] == x.shape[i] || y.shape[i] == 1, "sum", "y ", y.shape,
          " must have x's extents or 1, x is ", x.shape);
  if (device == Device::cuda) return sum_on_cuda(x, scale, y);
  if (x.numel() == 0) {
    for (int64_t i = 0; i < y.numel(); ++i) store(y, i, 0);
    return;
  }
  const Plan plan = plan_for(x.shape, y.shape);
  check(workspace != nullptr || plan.chunks == 1, "sum", "the workspace is missing");
  if (plan.along)
    sum_along(plan, x, scale, y, static_cast<double*>(workspace));
  else if (x.dtype == DType::f64)
    sum_down(plan, x, scale, y, static_cast<double*>(workspace));
  else
    sum_down(plan, x, scale, y, static_cast<float*>(workspace));
}

}  // namespace tw::kernels
