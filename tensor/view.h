// View: a non-owning strided array; the only type that kernels see.
#pragma once

#include <cstdint>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/shape.h"

namespace tw {

struct View {
  void* pointer = nullptr;  // first element; null for an absent optional argument
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Shape shape;
  Shape strides;  // in elements; 0 for a broadcast extent

  explicit operator bool() const { return pointer != nullptr; }
  int rank() const { return shape.rank(); }
  int64_t dim(int i) const { return shape.dim(i); }
  int64_t numel() const { return shape.numel(); }
  bool is_contiguous() const;

  // The typed pointer; throws when T is not the view's dtype.
  template <class T>
  T* data() const {
    check(dtype == dtype_of<T>::value, "view", "holds ", dtype_name(dtype), ", asked for ",
          dtype_name(dtype_of<T>::value));
    return static_cast<T*>(pointer);
  }
};

}  // namespace tw
