#include "kernels/op/step_row.h"

#include "kernels/op/checks.h"
#include "kernels/op/cuda.h"
#include "kernels/op/profile.h"

namespace tw::kernels {
namespace {

void check_row(const char* op, const View& row) {
  check(row.device == Device::cuda && row.dtype == DType::i64 && row.numel() == 1, op,
        "row must be one i64 on a CUDA device, found ", row.numel(), " ", dtype_name(row.dtype), " on ",
        device_name(row.device));
}

void check_table(const char* op, const View& table, const View& row, const View& one) {
  check_row(op, row);
  check(table.rank() >= 1 && table.dim(0) > 0, op, "the table has no rows, its shape is ", table.shape);
  for (const View& v : {table, one})
    check(v.pointer && v.device == Device::cuda && v.is_contiguous(), op,
          "expected contiguous tensors on a CUDA device, found ", v.shape, " with strides ", v.strides,
          " on ", device_name(v.device));
  check(table.dtype == one.dtype && table.numel() == one.numel() * table.dim(0), op, "a row is ",
        dtype_name(one.dtype), " ", one.shape, ", the table ", dtype_name(table.dtype), " ", table.shape);
}

}  // namespace

void take_row(const View& table, const View& row, const View& to) {
  const OpTimer timer("take_row", to);
  check_table("take_row", table, row, to);
  cuda::call("tw_cuda_take_row", table, row, to);
}

void put_row(const View& table, const View& row, const View& from) {
  const OpTimer timer("put_row", from);
  check_table("put_row", table, row, from);
  cuda::call("tw_cuda_put_row", table, row, from);
}

void count_up(const View& row) {
  const OpTimer timer("count_up", row);
  check_row("count_up", row);
  cuda::call("tw_cuda_count_up", row);
}

}  // namespace tw::kernels
