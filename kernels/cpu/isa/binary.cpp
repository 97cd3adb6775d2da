// Rows with unit stride or a constant operand are vectors; any other stride is gathered element by element.
#include "kernels/cpu/isa/binary.h"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/map.h"

namespace tw::kernels {
namespace {

using TW_ISA::Compute;

// One operand's row: vectors of it from position i on.
template <class T>
struct Contiguous {
  const T* from;
  TW_INLINE Compute<T> at(int64_t i) const { return Compute<T>::load(from + i); }
  TW_INLINE Compute<T> at(int64_t i, int64_t count) const { return Compute<T>::load(from + i, count); }
};
template <class T>
struct Constant {
  Compute<T> value;
  TW_INLINE explicit Constant(const T* from) {
    T all[Compute<T>::lanes];
    for (T& one : all) one = *from;
    value = Compute<T>::load(all);
  }
  TW_INLINE Compute<T> at(int64_t) const { return value; }
  TW_INLINE Compute<T> at(int64_t, int64_t) const { return value; }
};
template <class T>
struct Strided {
  const T* from;
  int64_t stride;
  TW_INLINE Compute<T> at(int64_t i) const { return at(i, Compute<T>::lanes); }
  TW_INLINE Compute<T> at(int64_t i, int64_t count) const {
    T all[Compute<T>::lanes] = {};
    for (int64_t k = 0; k < count; ++k) all[k] = from[(i + k) * stride];
    return Compute<T>::load(all);
  }
};

template <class T, class A, class B, class F>
TW_INLINE void row(A a, B b, T* y, int64_t length, F f) {
  constexpr int64_t lanes = Compute<T>::lanes;
  int64_t i = 0;
  for (; i + lanes <= length; i += lanes) f(a.at(i), b.at(i)).store(y + i);
  if (i < length) f(a.at(i, length - i), b.at(i, length - i)).store(y + i, length - i);
}

template <class T, class F>
void rows(const StridedLoop& loop, const T* a, const T* b, T* y, int64_t begin, int64_t end, F f) {
  const int64_t step_a = loop.inner_stride(0), step_b = loop.inner_stride(1);
  for_each_run<2>(loop, begin, end, [&](int64_t position, int64_t length, const int64_t* offsets) {
    const T *ra = a + offsets[0], *rb = b + offsets[1];
    if (step_a == 1 && step_b == 1)
      row(Contiguous<T>{ra}, Contiguous<T>{rb}, y + position, length, f);
    else if (step_a == 1 && step_b == 0)
      row(Contiguous<T>{ra}, Constant<T>(rb), y + position, length, f);
    else if (step_a == 0 && step_b == 1)
      row(Constant<T>(ra), Contiguous<T>{rb}, y + position, length, f);
    else
      row(Strided<T>{ra, step_a}, Strided<T>{rb, step_b}, y + position, length, f);
  });
}

template <class T>
void run_of(Binary kind, const StridedLoop& loop, const void* a, const void* b, void* y, int64_t begin,
            int64_t end) {
  using V = Compute<T>;
  const T *pa = static_cast<const T*>(a), *pb = static_cast<const T*>(b);
  T* py = static_cast<T*>(y);
  switch (kind) {
    case Binary::add:
      return rows(loop, pa, pb, py, begin, end, [](V u, V v) { return u + v; });
    case Binary::sub:
      return rows(loop, pa, pb, py, begin, end, [](V u, V v) { return u - v; });
    case Binary::mul:
      return rows(loop, pa, pb, py, begin, end, [](V u, V v) { return u * v; });
    case Binary::div:
      return rows(loop, pa, pb, py, begin, end, [](V u, V v) { return u / v; });
  }
}

void run(Binary kind, const StridedLoop& loop, DType dtype, const void* a, const void* b, void* y,
         int64_t begin, int64_t end) {
  if (dtype == DType::f64) return run_of<double>(kind, loop, a, b, y, begin, end);
  if (dtype == DType::bf16) return run_of<bf16>(kind, loop, a, b, y, begin, end);
  return run_of<float>(kind, loop, a, b, y, begin, end);
}

}  // namespace

template <>
const BinaryKernels& kernels_of<BinaryKernels, Isa::TW_ISA>() {
  static const BinaryKernels kernels{run};
  return kernels;
}

}  // namespace tw::kernels
