// What a U-Net computes from time step and label alone, for all steps of a schedule at once: one GEMM a block
// instead of one a block and step.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace tw {

// Made by UNet::time_table for time steps t_0 ... and the labels of a batch.
struct TimeTable {
  int64_t rows = 0;                 // time steps
  int64_t labels = 1;               // different labels in the batch
  std::vector<int64_t> label_of;    // which of them sample i has; empty: the batch has no labels
  std::vector<Tensor> projections;  // one a residual block, in the order of use: (rows, labels, c)

  // The projection of a block at a time step, for a batch of n samples: (n, c).
  Tensor at(size_t block, int64_t row, int64_t n) const;
  size_t bytes() const;
};

// One row of a table at a time, at addresses that stay: what a repeated step reads (tensor/cuda_graph.h).
class CurrentTimes {
 public:
  // The first load makes the memory; later tables must be of the same network and labels, and of no more
  // rows.
  void load(const TimeTable& table);
  // Copies a row of the loaded table: one copy on the device.
  void set(int64_t row);
  // The same by a number in memory, (1) i64, modulo the rows of the first table.
  void select(const Tensor& row);
  const TimeTable& table() const { return current_; }  // of one row

 private:
  Tensor rows_, row_;  // (rows, all projections side by side) and one of them
  TimeTable current_;
};

}  // namespace tw
