#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

#include "tensor/allocation_label.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"
#include "tensor/transfer.h"

namespace tw {
namespace {

// Calls f(offset_a, offset_b) for every run along the last dimension; offsets in elements, run length
// returned by shape.
template <class F>
void for_each_row(const Shape& shape, const Shape& strides_a, const Shape& strides_b, F&& f) {
  const int outer = std::max(shape.rank() - 1, 0);
  int64_t rows = 1;
  for (int i = 0; i < outer; ++i) rows *= shape[i];
  int64_t index[Shape::max_rank] = {};
  int64_t a = 0, b = 0;
  for (int64_t row = 0; row < rows; ++row) {
    f(a, b);
    for (int i = outer - 1; i >= 0; --i) {
      a += strides_a[i];
      b += strides_b[i];
      if (++index[i] < shape[i]) break;
      a -= strides_a[i] * shape[i];
      b -= strides_b[i] * shape[i];
      index[i] = 0;
    }
  }
}

template <class To, class From>
To cast_element(From value) {
  if constexpr (std::is_same_v<To, From>)
    return value;
  else if constexpr (std::is_same_v<From, bf16> || std::is_same_v<From, f16>)
    return cast_element<To>(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bf16> || std::is_same_v<To, f16>)
    return To(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

// Two views with neighbouring dimensions merged where both step through them as through one, so that the last
// dimension, the inner loop, is as long as it can be.
struct Rows {
  Shape shape{1}, strides_to{1}, strides_from{1};
};

Rows merged_rows(const View& to, const View& from) {
  Rows rows;
  for (int i = 0; i < to.rank(); ++i) {
    if (to.shape[i] == 1) continue;
    const int last = rows.shape.rank() - 1;
    if (rows.shape[last] == 1) {
      rows.shape[last] = to.shape[i];
    } else if (rows.strides_to[last] == to.strides[i] * to.shape[i] &&
               rows.strides_from[last] == from.strides[i] * to.shape[i]) {
      rows.shape[last] *= to.shape[i];
    } else {
      rows.shape.push_back(to.shape[i]);
      rows.strides_to.push_back(0);
      rows.strides_from.push_back(0);
    }
    rows.strides_to[rows.shape.rank() - 1] = to.strides[i];
    rows.strides_from[rows.shape.rank() - 1] = from.strides[i];
  }
  return rows;
}

template <class To, class From>
void copy_row(To* to, int64_t step_to, const From* from, int64_t step_from, int64_t n) {
  if (step_to == 1 && step_from == 1) {
    if constexpr (std::is_same_v<To, From>)
      std::memmove(to, from, static_cast<size_t>(n) * sizeof(To));
    else
      for (int64_t i = 0; i < n; ++i) to[i] = cast_element<To>(from[i]);
  } else if (step_to == 1 && step_from == 0) {
    std::fill(to, to + n, cast_element<To>(*from));
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * step_to] = cast_element<To>(from[i * step_from]);
  }
}

// A transposed view goes in columns a cache line of `to` wide: what a row reads of `from` is still in the L2
// cache for the next rows. (256, 512, 3, 3) -> (3, 3, 512, 256): 0.78 ns an element, 4.1 row after whole row.
void copy_view(const View& to, const View& from) {
  if (to.numel() == 0) return;
  check(to.pointer && from.pointer, "tensor", "the memory of a tensor ", to.shape, " has been given back");
  const bool plain = to.dtype == from.dtype && to.is_contiguous() && from.is_contiguous();
  const size_t bytes = static_cast<size_t>(to.numel()) * dtype_size(to.dtype);
  if (to.device != from.device) {
    check(plain, "copy", "from ", device_name(from.device), " to ", device_name(to.device),
          " needs contiguous tensors of one dtype; they are ", from.shape, " ", dtype_name(from.dtype),
          " and ", to.shape, " ", dtype_name(to.dtype));
    cuda_copy(to.pointer, to.device, from.pointer, from.device, bytes);
    return;
  }
  if (plain && to.device == Device::cpu) {
    std::memmove(to.pointer, from.pointer, bytes);
    return;
  }
  const Rows rows = merged_rows(to, from);
  if (to.device == Device::cuda) {
    cuda_copy_within({to.pointer, to.dtype, to.device, rows.shape, rows.strides_to},
                     {from.pointer, from.dtype, from.device, rows.shape, rows.strides_from});
    return;
  }
  const int64_t length = rows.shape.back(), step_to = rows.strides_to.back();
  const int64_t step_from = rows.strides_from.back();
  const auto line = static_cast<int64_t>(64 / dtype_size(to.dtype));
  const int64_t part = step_to == 1 && step_from > 1 ? line : length;
  visit(to.dtype, [&]<class To>(To) {
    visit(from.dtype, [&]<class From>(From) {
      for (int64_t begin = 0; begin < length; begin += part) {
        const int64_t count = std::min(part, length - begin);
        const Shape shape = rows.shape.with(-1, count);
        for_each_row(shape, rows.strides_to, rows.strides_from, [&](int64_t a, int64_t b) {
          copy_row(static_cast<To*>(to.pointer) + a + begin * step_to, step_to,
                   static_cast<const From*>(from.pointer) + b + begin * step_from, step_from, count);
        });
      }
    });
  });
}

}  // namespace

bool View::is_contiguous() const {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  int64_t expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Tensor Tensor::wrap(std::shared_ptr<Storage> storage, DType dtype, const Shape& shape, const Shape& strides,
                    int64_t offset) {
  check(shape.rank() == strides.rank(), "tensor", "shape ", shape, " and strides ", strides,
        " differ in rank");
  // The furthest elements in both directions must lie in the storage; sums that overflow do not.
  bool inside = offset >= 0;
  if (shape.numel() != 0) {
    int64_t first = offset, last = offset;
    for (int i = 0; i < shape.rank() && inside; ++i) {
      int64_t reach = 0;
      int64_t& bound = strides[i] < 0 ? first : last;
      inside = !__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) &&
               !__builtin_add_overflow(bound, reach, &bound);
    }
    inside = inside && first >= 0 && static_cast<size_t>(last) < storage->bytes() / dtype_size(dtype);
  }
  check(inside, "tensor", "shape ", shape, " with strides ", strides, " at ", offset, " reaches beyond its ",
        storage->bytes(), " bytes");
  Tensor result;
  result.storage_ = std::move(storage);
  result.shape_ = shape;
  result.strides_ = strides;
  result.offset_ = offset;
  result.dtype_ = dtype;
  return result;
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.numel(), static_cast<int64_t>(dtype_size(dtype)), &bytes), "tensor",
        shape, " is too large");
  const AllocatedTensor description(shape, dtype);
  Tensor result;
  result.storage_ = std::make_shared<Storage>(static_cast<size_t>(bytes), device);
  result.shape_ = shape;
  result.strides_ = contiguous_strides(shape);
  result.dtype_ = dtype;
  return result;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  result.fill(value);
  return result;
}

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "tensor", values.size(),
        " values do not fill shape ", shape);
  Tensor result = empty(shape, dtype_of<T>::value);
  std::copy(values.begin(), values.end(), result.data<T>());
  return result;
}
template Tensor Tensor::from(const std::vector<float>&, const Shape&);
template Tensor Tensor::from(const std::vector<double>&, const Shape&);
template Tensor Tensor::from(const std::vector<bf16>&, const Shape&);
template Tensor Tensor::from(const std::vector<f16>&, const Shape&);
template Tensor Tensor::from(const std::vector<int32_t>&, const Shape&);
template Tensor Tensor::from(const std::vector<int64_t>&, const Shape&);
template Tensor Tensor::from(const std::vector<uint8_t>&, const Shape&);

bool Tensor::is_contiguous() const { return view().is_contiguous(); }

View Tensor::view() const {
  if (!storage_) return {};
  char* pointer = static_cast<char*>(storage_->data());
  if (pointer) pointer += offset_ * static_cast<int64_t>(dtype_size(dtype_));
  return {pointer, dtype_, storage_->device(), shape_, strides_};
}

template <class T>
T* Tensor::data() const {
  check(defined(), "tensor", "is undefined");
  const View v = view();
  check(v.pointer != nullptr || numel() == 0, "tensor", "the memory of a tensor ", shape_,
        " has been given back");
  check(v.device == Device::cpu, "tensor", "is on ", device_name(v.device), ", not on the cpu");
  check(v.is_contiguous(), "tensor", "of shape ", shape_, " is not contiguous");
  return v.data<T>();
}
template float* Tensor::data() const;
template double* Tensor::data() const;
template bf16* Tensor::data() const;
template f16* Tensor::data() const;
template int32_t* Tensor::data() const;
template int64_t* Tensor::data() const;
template uint8_t* Tensor::data() const;

double Tensor::item() const {
  check(defined() && numel() == 1, "tensor", "item() needs one element, the shape is ", shape_);
  return to_vector()[0];
}

std::vector<double> Tensor::to_vector() const {
  std::vector<double> values(static_cast<size_t>(numel()));
  if (values.empty()) return values;
  if (device() != Device::cpu) return to_device(*this, Device::cpu).to_vector();
  copy_view({values.data(), DType::f64, Device::cpu, shape_, contiguous_strides(shape_)}, view());
  return values;
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(is_contiguous(), "reshape", "of a tensor ", shape_, " that is not contiguous");
  check(shape.numel() == numel(), "reshape", shape_, " has ", numel(), " elements, ", shape, " has ",
        shape.numel());
  return wrap(storage_, dtype_, shape, contiguous_strides(shape), offset_);
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
  const int64_t extent = shape_.dim(dim);
  const int i = dim < 0 ? dim + rank() : dim;
  check(0 <= begin && begin <= end && end <= extent, "slice", "[", begin, ", ", end, ") of dimension ", dim,
        " of ", shape_);
  return wrap(storage_, dtype_, shape_.with(i, end - begin), strides_, offset_ + begin * strides_[i]);
}

Tensor Tensor::select(int dim, int64_t index) const {
  const Tensor one = slice(dim, index, index + 1);
  const int removed = dim < 0 ? dim + rank() : dim;
  Shape shape, strides;
  for (int i = 0; i < rank(); ++i) {
    if (i == removed) continue;
    shape.push_back(one.shape_[i]);
    strides.push_back(one.strides_[i]);
  }
  return wrap(storage_, dtype_, shape, strides, one.offset_);
}

Tensor Tensor::permute(std::initializer_list<int> order) const {
  check(static_cast<int>(order.size()) == rank(), "permute", order.size(), " dimensions given for ", shape_);
  Shape shape, strides;
  unsigned seen = 0;
  for (int i : order) {
    const int index = i < 0 ? i + rank() : i;
    check(index >= 0 && index < rank() && !(seen & (1u << index)), "permute", "dimension ", i,
          " is repeated or not in ", shape_);
    seen |= 1u << index;
    shape.push_back(shape_[index]);
    strides.push_back(strides_[index]);
  }
  return wrap(storage_, dtype_, shape, strides, offset_);
}

Tensor Tensor::broadcast_to(const Shape& shape) const {
  check(broadcast_shapes("broadcast_to", shape_, shape) == shape, "broadcast_to", shape_,
        " does not broadcast to ", shape);
  Shape strides = shape;
  const int extra = shape.rank() - rank();
  for (int i = 0; i < shape.rank(); ++i)
    strides[i] = i < extra || (shape_[i - extra] == 1 && shape[i] != 1) ? 0 : strides_[i - extra];
  return wrap(storage_, dtype_, shape, strides, offset_);
}

Tensor Tensor::unsqueeze(int dim) const {
  const int index = dim < 0 ? dim + rank() + 1 : dim;
  check(index >= 0 && index <= rank(), "unsqueeze", "dimension ", dim, " of ", shape_);
  Shape shape, strides;
  for (int i = 0; i <= rank(); ++i) {
    if (i == index) {
      shape.push_back(1);
      strides.push_back(i < rank() ? shape_[i] * strides_[i] : 1);
    }
    if (i < rank()) {
      shape.push_back(shape_[i]);
      strides.push_back(strides_[i]);
    }
  }
  return wrap(storage_, dtype_, shape, strides, offset_);
}

Tensor Tensor::contiguous() const { return !defined() || is_contiguous() ? *this : clone(); }

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(shape_, dtype, device());
  copy_view(result.view(), view());
  return result;
}

Tensor to_device(const Tensor& tensor, Device device) {
  if (!tensor.defined() || device == tensor.device()) return tensor;
  Tensor result = Tensor::empty(tensor.shape(), tensor.dtype(), device);
  copy_view(result.view(), tensor.contiguous().view());
  return result;
}

Tensor Tensor::clone() const {
  Tensor result = empty(shape_, dtype_, device());
  copy_view(result.view(), view());
  return result;
}

void Tensor::copy_from(const Tensor& source) {
  check(source.shape_ == shape_, "copy_from", "source is ", source.shape_, ", destination ", shape_);
  if (source.device() == device())
    copy_view(view(), source.view());
  else if (is_contiguous() && source.dtype() == dtype_)
    copy_view(view(), source.contiguous().view());
  else  // converted where it is, then moved, then put in its place
    copy_view(view(), to_device(source.to(dtype_), device()).view());
  bump_version();
}

void Tensor::fill(double value) {
  if (device() != Device::cpu && is_contiguous()) {
    cuda_fill(view(), value);
    bump_version();
    return;
  }
  if (device() != Device::cpu) {
    copy_view(view(), full({1}, value, dtype_, device()).broadcast_to(shape_).view());
    bump_version();
    return;
  }
  Shape zero_strides = shape_;
  for (int i = 0; i < rank(); ++i) zero_strides[i] = 0;
  copy_view(view(), {&value, DType::f64, Device::cpu, shape_, zero_strides});
  bump_version();
}

}  // namespace tw
