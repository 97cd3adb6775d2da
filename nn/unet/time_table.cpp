#include "nn/unet/time_table.h"

#include <algorithm>

#include "kernels/op/step_row.h"
#include "nn/unet/unet.h"
#include "tensor/error.h"

namespace tw {

Tensor TimeTable::at(size_t block, int64_t row, int64_t n) const {
  check(row >= 0 && row < rows, "time table", "has ", rows, " rows, asked for row ", row);
  check(label_of.empty() || n == static_cast<int64_t>(label_of.size()), "time table",
        "was made for a batch of ", label_of.size(), " labels, found a batch of ", n);
  const Tensor step = projections.at(block).select(0, row);  // (labels, c)
  if (n == 1)
    return step.slice(0, label_of.empty() ? 0 : label_of[0], label_of.empty() ? 1 : label_of[0] + 1);
  if (label_of.empty()) return step.broadcast_to({n, step.dim(1)}).clone();
  Tensor result = Tensor::empty({n, step.dim(1)}, step.dtype(), step.device());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t label = label_of[static_cast<size_t>(i)];
    result.slice(0, i, i + 1).copy_from(step.slice(0, label, label + 1));
  }
  return result;
}

size_t TimeTable::bytes() const {
  size_t sum = 0;
  for (const Tensor& projection : projections) sum += projection.nbytes();
  return sum;
}

void CurrentTimes::load(const TimeTable& table) {
  const Tensor& first = table.projections.at(0);
  int64_t width = 0;
  for (const Tensor& projection : table.projections) width += projection.numel() / table.rows;
  check(!row_.defined() || row_.numel() == width, "time table", "of another network: its rows have ", width,
        " values instead of ", row_.numel());
  check(!row_.defined() || table.rows <= rows_.dim(0), "time table", "of ", table.rows,
        " rows where there is room for ", row_.defined() ? rows_.dim(0) : 0);
  if (!row_.defined()) {
    rows_ = Tensor::empty({table.rows, width}, first.dtype(), first.device());
    row_ = Tensor::empty({width}, first.dtype(), first.device());
    current_ = {.rows = 1, .labels = table.labels, .label_of = table.label_of, .projections = {}};
  }
  int64_t at = 0;
  for (const Tensor& projection : table.projections) {
    const int64_t size = projection.numel() / table.rows;
    rows_.slice(0, 0, table.rows).slice(1, at, at + size).copy_from(projection.reshape({table.rows, size}));
    if (current_.projections.size() < table.projections.size())
      current_.projections.push_back(
          row_.slice(0, at, at + size).reshape({1, table.labels, size / table.labels}));
    at += size;
  }
}

void CurrentTimes::set(int64_t row) { row_.copy_from(rows_.select(0, row)); }

void CurrentTimes::select(const Tensor& row) {
  kernels::take_row(rows_.view(), row.view(), row_.view());
  row_.bump_version();
}

TimeTable UNet::time_table(const std::vector<float>& timesteps, const Tensor& labels) const {
  const NoGrad no_grad;
  TimeTable table{
      .rows = static_cast<int64_t>(timesteps.size()), .labels = 1, .label_of = {}, .projections = {}};
  std::vector<int32_t> distinct;
  if (labels.defined()) {
    for (const double value : labels.to_vector()) {
      const auto label = static_cast<int32_t>(value);
      auto found = std::find(distinct.begin(), distinct.end(), label);
      if (found == distinct.end()) found = distinct.insert(distinct.end(), label);
      table.label_of.push_back(found - distinct.begin());
    }
    table.labels = static_cast<int64_t>(distinct.size());
  }
  std::vector<float> times;
  std::vector<int32_t> classes;
  for (const float t : timesteps)
    for (int64_t i = 0; i < table.labels; ++i) {
      times.push_back(t);
      if (labels.defined()) classes.push_back(distinct[static_cast<size_t>(i)]);
    }
  const Conditioning all =
      condition(Tensor::from(times), labels.defined() ? Tensor::from(classes) : Tensor());
  for (const Var& projection : all.projections)
    table.projections.push_back(projection.value().reshape({table.rows, table.labels, projection.dim(1)}));
  return table;
}

Var UNet::forward(const Var& x, const TimeTable& table, int64_t row) const {
  Conditioning conditioning;
  for (size_t block = 0; block < table.projections.size(); ++block)
    conditioning.projections.push_back(table.at(block, row, x.dim(0)));
  return forward(x, conditioning);
}

}  // namespace tw
