// What an allocation is for: a name and a shape, kept per thread while the allocation is made, so that memory
// plans and out-of-memory messages can say more than a number of bytes.
#pragma once

#include <string>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace tw {

// Names the allocations made in its scope; names of enclosing scopes come first: "down.0/conv1".
// Costs two pointer moves: nothing is copied or joined until somebody asks. `name` must outlive the scope.
class AllocationName {
 public:
  explicit AllocationName(std::string_view name);
  ~AllocationName();
  AllocationName(const AllocationName&) = delete;
  AllocationName& operator=(const AllocationName&) = delete;

 private:
  friend std::string current_allocation_name();
  std::string_view name_;
  const AllocationName* outer_;
};
std::string current_allocation_name();  // "" outside of every scope

// Set by Tensor::empty around its allocation.
class AllocatedTensor {
 public:
  AllocatedTensor(const Shape& shape, DType dtype);
  ~AllocatedTensor();
  AllocatedTensor(const AllocatedTensor&) = delete;
  AllocatedTensor& operator=(const AllocatedTensor&) = delete;
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }

 private:
  const Shape& shape_;
  DType dtype_;
  const AllocatedTensor* outer_;
};
const AllocatedTensor* current_allocated_tensor();  // null when no tensor is being allocated

// " (2, 32, 32, 128) f32 in 'down.0/conv1'", as far as known, for messages.
std::string describe_current_allocation();

}  // namespace tw
