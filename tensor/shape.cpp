#include "tensor/shape.h"

#include <algorithm>
#include <ostream>

#include "tensor/error.h"

namespace tw {

Shape::Shape(std::span<const int64_t> extents) {
  for (int64_t extent : extents) push_back(extent);
}

void Shape::push_back(int64_t extent) {
  check(rank_ < max_rank, "shape", "at most ", max_rank, " dimensions are supported");
  check(extent >= 0, "shape", "negative extent ", extent);
  extents_[static_cast<size_t>(rank_++)] = extent;
}

int64_t Shape::dim(int i) const {
  const int index = i < 0 ? i + rank_ : i;
  check(index >= 0 && index < rank_, "shape", "dimension ", i, " of ", *this, " does not exist");
  return extents_[static_cast<size_t>(index)];
}

int64_t Shape::numel() const {
  if (std::find(begin(), end(), 0) != end()) return 0;
  int64_t product = 1;
  for (int64_t extent : *this)
    check(!__builtin_mul_overflow(product, extent, &product), "shape", *this, " has more than 2^63 elements");
  return product;
}

Shape Shape::with(int i, int64_t extent) const {
  dim(i);
  Shape copy = *this;
  copy[i < 0 ? i + rank_ : i] = extent;
  return copy;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::string Shape::str() const { return detail::join(*this); }

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << (shape.rank() == 1 ? ",)" : ")");
}

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    // Of a shape without elements the product may overflow; its strides are never used.
    if (__builtin_mul_overflow(stride, shape[i], &stride)) stride = 0;
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape result;
  for (int i = 0; i < rank; ++i) {
    const int64_t ea = i < rank - a.rank() ? 1 : a[i - (rank - a.rank())];
    const int64_t eb = i < rank - b.rank() ? 1 : b[i - (rank - b.rank())];
    check(ea == eb || ea == 1 || eb == 1, op, "shapes ", a, " and ", b, " cannot be broadcast together");
    result.push_back(ea == 1 ? eb : ea);
  }
  return result;
}

}  // namespace tw
