#include "autograd/saved_log.h"

#include <algorithm>
#include <cstdio>
#include <unordered_set>
#include <utility>

#include "autograd/tape.h"
#include "autograd/var.h"
#include "tensor/allocation_label.h"

namespace tw {
namespace {

thread_local SavedLog* log = nullptr;

std::unordered_set<const Storage*> storages_of(const std::vector<Tensor>& tensors) {
  std::unordered_set<const Storage*> storages;
  for (const Tensor& tensor : tensors) storages.insert(tensor.storage().get());
  return storages;
}

}  // namespace

SavedLog::SavedLog() : outer_(std::exchange(log, this)) {}
SavedLog::~SavedLog() { log = outer_; }

Saved::Saved(const Tensor& value) : value_(value), version_(value.version()) {
  if (!log || !value.defined()) return;
  log->rows_.push_back({"", "", value.shape(), value.dtype(), value.nbytes(), value.storage().get()});
}

void claim_saved(const char* op) {
  if (!log) return;
  for (; log->claimed_ < log->rows_.size(); ++log->claimed_) {
    log->rows_[log->claimed_].op = op;
    log->rows_[log->claimed_].name = current_allocation_name();
  }
}

size_t SavedLog::bytes(const std::vector<Tensor>& held) const {
  std::unordered_set<const Storage*> seen = storages_of(held);
  size_t sum = 0;
  for (const Row& row : rows_)
    if (seen.insert(row.storage).second) sum += row.bytes;
  return sum;
}

std::string SavedLog::table(const std::vector<Tensor>& held) const {
  const std::unordered_set<const Storage*> kept = storages_of(held);
  std::unordered_set<const Storage*> seen;
  size_t width = 4;
  for (const Row& row : rows_) width = std::max(width, row.name.size());
  std::string text;
  char line[160];
  const auto add = [&](const std::string& name, const char* rest) {
    text += name + std::string(width - std::min(width, name.size()), ' ') + rest + "\n";
  };
  std::snprintf(line, sizeof line, "  %-12s %-24s %-5s %12s", "saved by", "shape", "dtype", "bytes");
  add("name", line);
  for (const Row& row : rows_) {
    const char* note = kept.count(row.storage)           ? "  a parameter"
                       : seen.insert(row.storage).second ? ""
                                                         : "  (shared)";
    std::snprintf(line, sizeof line, "  %-12s %-24s %-5s %12zu%s", row.op, row.shape.str().c_str(),
                  dtype_name(row.dtype), row.bytes, note);
    add(row.name, line);
  }
  std::snprintf(line, sizeof line, "saved besides the parameters: %.2f MiB\n",
                static_cast<double>(bytes(held)) / 0x1p20);
  return text + line;
}

}  // namespace tw
