#include "tensor/allocation_label.h"

#include "tensor/error.h"

namespace tw {
namespace {

thread_local const AllocationName* innermost_name = nullptr;
thread_local const AllocatedTensor* innermost_tensor = nullptr;

}  // namespace

AllocationName::AllocationName(std::string_view name) : name_(name), outer_(innermost_name) {
  innermost_name = this;
}
AllocationName::~AllocationName() { innermost_name = outer_; }

std::string current_allocation_name() {
  std::string joined;
  for (const AllocationName* scope = innermost_name; scope; scope = scope->outer_) {
    if (scope->name_.empty()) continue;
    joined = std::string(scope->name_) + (joined.empty() ? "" : "/") + joined;
  }
  return joined;
}

AllocatedTensor::AllocatedTensor(const Shape& shape, DType dtype)
    : shape_(shape), dtype_(dtype), outer_(innermost_tensor) {
  innermost_tensor = this;
}
AllocatedTensor::~AllocatedTensor() { innermost_tensor = outer_; }

const AllocatedTensor* current_allocated_tensor() { return innermost_tensor; }

std::string describe_current_allocation() {
  std::string text;
  if (innermost_tensor)
    text += detail::join(" ", innermost_tensor->shape(), " ", dtype_name(innermost_tensor->dtype()));
  const std::string name = current_allocation_name();
  if (!name.empty()) text += " in '" + name + "'";
  return text;
}

}  // namespace tw
