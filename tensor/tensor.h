// Tensor: a value handle on a strided array. Copying a Tensor copies the handle, not the elements.
//
// Activations are (n, h, w, c), volumes (n, d, h, w, c), tokens (n, t, c), all contiguous with channels last.
// A Tensor knows nothing of gradients (autograd/var.h) and does no maths beyond copy, fill and cast.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"
#include "tensor/view.h"

namespace tw {

class Tensor {
 public:
  Tensor() = default;  // undefined: defined() is false

  // New contiguous tensors, from the calling thread's allocator. `empty` leaves the elements unset.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = Device::cpu);
  // Copies `values`; throws unless values.size() == shape.numel().
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape);
  template <class T>
  static Tensor from(const std::vector<T>& values) {
    return from(values, Shape{static_cast<int64_t>(values.size())});
  }
  // A tensor over existing storage; throws if it would reach beyond it. Strides and offset are in elements.
  static Tensor wrap(std::shared_ptr<Storage> storage, DType dtype, const Shape& shape, const Shape& strides,
                     int64_t offset = 0);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_.dim(i); }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device::cpu; }
  size_t nbytes() const { return static_cast<size_t>(numel()) * dtype_size(dtype_); }
  bool is_contiguous() const;
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  int64_t offset() const { return offset_; }
  View view() const;  // what kernels take; a null View when undefined

  // Typed access to a contiguous CPU tensor; throws when dtype, layout or device differ.
  template <class T>
  T* data() const;
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<size_t>(numel())};
  }
  double item() const;                    // the value of a one-element tensor, of any dtype
  std::vector<double> to_vector() const;  // all elements in order, of any dtype and strides

  // Views: they share the storage. Dimensions may be given negative, counting from the end.
  Tensor reshape(const Shape& shape) const;  // throws unless contiguous and of equal size
  Tensor slice(int dim, int64_t begin, int64_t end) const;
  Tensor select(int dim, int64_t index) const;  // slice of one, with that dimension removed
  Tensor permute(std::initializer_list<int> order) const;
  Tensor broadcast_to(const Shape& shape) const;
  Tensor unsqueeze(int dim) const;

  // New tensors (or this one, when nothing has to change).
  Tensor contiguous() const;
  Tensor to(DType dtype) const;
  Tensor clone() const;  // always a new contiguous tensor

  // In-place changes; both count up version().
  void copy_from(const Tensor& source);  // same shape; casts
  void fill(double value);

  uint64_t version() const { return storage_ ? storage_->version() : 0; }
  void bump_version() {
    if (storage_) storage_->bump_version();
  }

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_{0};
  Shape strides_{1};
  int64_t offset_ = 0;  // in elements
  DType dtype_ = DType::f32;
};

}  // namespace tw
