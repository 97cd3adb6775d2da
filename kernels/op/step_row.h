// Rows of tables for a loop whose step number lies in a device's memory, so that a captured step
// (tensor/cuda_graph.h) picks its own coefficients and counts itself up: the host writes nothing between
// steps.
#pragma once

#include "tensor/view.h"

namespace tw::kernels {

// row: (1) i64 >= 0. table: (rows, ...) contiguous; to and from: of one of its rows' numel and dtype,
// contiguous. On CUDA; wait for nothing. Throw Error when an argument does not fit.

// to = table[row mod rows].
void take_row(const View& table, const View& row, const View& to);
// table[row mod rows] = from.
void put_row(const View& table, const View& row, const View& from);
// row = row + 1.
void count_up(const View& row);

}  // namespace tw::kernels
