// Shape: up to six extents, stored inline. Printed as (n, h, w, c).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace tw {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;  // rank 0: a scalar, one element
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents);  // throws if rank > max_rank or an extent is negative

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[static_cast<size_t>(i)]; }
  int64_t& operator[](int i) { return extents_[static_cast<size_t>(i)]; }
  int64_t dim(int i) const;  // negative i counts from the end; throws when out of range
  int64_t back() const { return dim(-1); }
  int64_t numel() const;  // product of the extents; throws when it overflows
  void push_back(int64_t extent);
  Shape with(int i,
             int64_t extent) const;  // a copy with one extent replaced (negative i counts from the end)

  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }
  bool operator==(const Shape& other) const;
  std::string str() const;  // "(2, 32, 32, 3)"

 private:
  std::array<int64_t, max_rank> extents_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

Shape contiguous_strides(const Shape& shape);                            // in elements, last extent fastest
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);  // numpy rule; throws naming `op`

}  // namespace tw
